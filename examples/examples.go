// Package examples holds the examples as files of the binary, so that the demonstration needs nothing but that.
package examples

import "embed"

// Files are the labs (*.lab.yaml) and the folders of intent beside them.
//
//go:embed *.lab.yaml article/*.yaml internet/*.yaml
var Files embed.FS
