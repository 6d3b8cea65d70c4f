package unixsocket_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/overlane/overlane/internal/unixsocket"
)

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "a.sock")
	l, err := unixsocket.Listen(t.Context(), path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("beside the socket there is %v, %v", left, err)
	}
	if _, err := unixsocket.Listen(t.Context(), path, 0o600); !errors.Is(err, unixsocket.ErrInUse) {
		t.Errorf("while somebody listens: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end the socket is there: %v", err)
	}
}

// A process that was killed leaves its socket behind.
func TestListenReplacesADeadSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err := unixsocket.Listen(t.Context(), path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
