// Copyright: the mapswipe.walg contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//go:build tools

// Package toolchain names the program that `go mod tidy` must keep in go.mod; nothing compiles this file.
package toolchain

import _ "github.com/fsouza/fake-gcs-server"
