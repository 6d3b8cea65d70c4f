package program

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestNotifyReady(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	NotifyReady(slog.New(slog.DiscardHandler))
	text := make([]byte, 100)
	n, err := systemd.Read(text)
	if err != nil || string(text[:n]) != "READY=1" {
		t.Errorf("systemd was told %q, %v", text[:n], err)
	}
	if left, there := os.LookupEnv("NOTIFY_SOCKET"); there {
		t.Errorf("children would inherit %s", left)
	}
	NotifyReady(slog.New(slog.DiscardHandler)) // without systemd: nobody is told, and nothing is wrong
}
