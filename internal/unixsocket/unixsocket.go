// Package unixsocket listens on unix sockets that nobody can open before their mode is right.
package unixsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// answerTimeout is how long a process that listens already may take to accept a connection.
const answerTimeout = time.Second

// ErrInUse is the error of [Listen] when somebody answers on the socket.
var ErrInUse = errors.New("somebody listens there already")

// Listen listens on a unix socket with the permissions mode. Folders that are missing are made (0755). A socket that a
// dead process has left behind is replaced; one on which somebody answers is ErrInUse. Closing the listener removes the
// socket.
//
// The socket is made in a folder that only its owner can enter, and moved into place when its mode is right: between
// bind and chmod, the umask alone would decide who can connect (unix(7)).
func Listen(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	dialer := net.Dialer{Timeout: answerTimeout}
	if c, err := dialer.DialContext(ctx, "unix", path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, ErrInUse)
	}
	l, err := listen(path, mode)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

func listen(path string, mode fs.FileMode) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".socket")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	hidden := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it would look for the old name
	if err = os.Chmod(hidden, mode); err == nil {
		err = os.Rename(hidden, path)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return listener{l, path}, nil
}

// listener removes its socket when it is closed.
type listener struct {
	net.Listener
	path string
}

func (l listener) Close() error {
	err := l.Listener.Close()
	if removed := os.Remove(l.path); !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	return err
}
