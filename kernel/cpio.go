package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
)

// file is one of the initramfs: its name there, where its content comes from, and its mode.
type file struct {
	name, source string
	mode         uint32
}

const (
	modeFile   = 0o100000
	modeFolder = 0o040000
)

// writeCPIO writes the "newc" format (Linux, Documentation/driver-api/early-userspace/buffer-format.rst), folders
// before what is in them.
func writeCPIO(to io.Writer, files []file) error {
	out := &padded{w: bufio.NewWriter(to)}
	folders := map[string]bool{".": true}
	for _, f := range files {
		if dir := path.Dir(f.name); !folders[dir] {
			folders[dir] = true
			out.entry(dir, modeFolder|0o755, nil)
		}
		content, err := os.ReadFile(f.source)
		if err != nil {
			return err
		}
		out.entry(f.name, modeFile|f.mode, content)
	}
	out.entry("TRAILER!!!", 0, nil)
	return out.w.Flush() // a bufio.Writer keeps its first error
}

// padded counts what it writes, because everything starts at a multiple of four.
type padded struct {
	w     *bufio.Writer
	count int
	inode int
}

func (p *padded) entry(name string, mode uint32, content []byte) {
	p.inode++
	p.write([]byte("070701"))
	for _, field := range []int{p.inode, int(mode), 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0} {
		p.write(fmt.Appendf(nil, "%08x", field))
	}
	p.write([]byte(name + "\x00"))
	p.pad()
	p.write(content)
	p.pad()
}

func (p *padded) write(b []byte) {
	_, _ = p.w.Write(b) // Flush gives the error
	p.count += len(b)
}

func (p *padded) pad() {
	for p.count%4 != 0 {
		p.write([]byte{0})
	}
}
