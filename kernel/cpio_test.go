package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What is packed is what cpio, as busybox has it, unpacks.
func TestCPIO(t *testing.T) {
	dir := t.TempDir()
	var files []file
	for name, content := range map[string]string{"init": "#!", "modules/00-a.ko": "", "modules/01-b.ko": strings.Repeat("b", 4097)} {
		source := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(source, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file{name, source, 0o755})
	}
	var archive bytes.Buffer
	if err := writeCPIO(&archive, files); err != nil {
		t.Fatal(err)
	}
	unpack := exec.Command("busybox", "cpio", "-id")
	unpack.Dir, unpack.Stdin = t.TempDir(), &archive
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, f := range files {
		want, _ := os.ReadFile(f.source)
		path := filepath.Join(unpack.Dir, f.name)
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d: %v", f.name, len(got), len(want), err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", f.name, info, err)
		}
	}
}

func TestParse(t *testing.T) {
	m, err := parse([]string{"-load", "openvswitch,bridge", "-wire", "a,b", "-name", "host1", "--", "echo", "-n"})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(m.job.Argv, " ") != "echo -n" || strings.Join(m.job.Load, " ") != "openvswitch bridge virtio_net" || m.wire != [2]string{"a", "b"} || m.job.Name != "host1" {
		t.Errorf("%+v", m)
	}
	for _, wrong := range [][]string{nil, {"-wire", "a", "true"}, {"-no-such-flag", "true"}} {
		if _, err := parse(wrong); err == nil {
			t.Errorf("%q passes", wrong)
		}
	}
}
