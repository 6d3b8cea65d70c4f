package main

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/capture"
	"github.com/overlane/overlane/internal/roottest"
)

// pinged is a ping from 172.17.42.2 to .10 under VNI 100, from 192.168.5.2 to .3.
const pinged = "525400000503525400000502" + "0800" + "45000086000100004011aefcc0a80502c0a80503" + "83a912b500720000" + "0800000000006400" +
	"024fac112a0a024fac112a02" + "0800" + "45000054000100004001ce83ac112a02ac112a0a" + "0800f7f600070001" +
	"0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"

func captureFile(t *testing.T) string {
	t.Helper()
	data, err := hex.DecodeString(pinged)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	w := capture.NewWriter(&file, capture.Names{})
	p := capture.Packet{Time: time.Unix(1, 0), Interface: "eth0", Data: data, Length: len(data), Comments: []string{"host1 > host2"}}
	frame := capture.Decode(p, capture.DefaultPort)
	for range 3 {
		if err := w.Write(p, &frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(capture.Stats{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.pcapng")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCaptureReadsFiles(t *testing.T) {
	file := captureFile(t)
	const line = "192.168.5.2 > 192.168.5.3 VNI 100  172.17.42.2 > 172.17.42.10  ICMP echo request, id 7, seq 1  # host1 > host2\n"
	for _, test := range []struct {
		args string
		want int // lines
	}{
		{"", 3},
		{"--count 2", 2},
		{"--udp-port 8472", 0},
		{"--udp-port 8472 --all", 3},
	} {
		args := append(strings.Fields("capture --agent "+t.TempDir()+"/none --read "+file), strings.Fields(test.args)...)
		var out, problems strings.Builder
		if status := run(args, strings.NewReader(""), &out, &problems); status != 0 || problems.Len() > 0 {
			t.Errorf("%q: status %d, %s", test.args, status, &problems)
		}
		if got := strings.Count(out.String(), "\n"); got != test.want {
			t.Errorf("%q shows %d packets, want %d", test.args, got, test.want)
		}
		if !strings.Contains(test.args, "port") && !strings.HasSuffix(out.String(), line) {
			t.Errorf("%q: got %q, want %q", test.args, &out, line)
		}
	}
}

// What is read can be written again, comments and all, and through pipes.
func TestCaptureCopies(t *testing.T) {
	original, err := os.ReadFile(captureFile(t))
	if err != nil {
		t.Fatal(err)
	}
	var copied, out, problems bytes.Buffer
	none := t.TempDir() + "/none"
	if status := run([]string{"capture", "--agent", none, "-r", "-", "-w", "-"}, bytes.NewReader(original), &copied, &problems); status != 0 {
		t.Fatalf("status %d, %s", status, &problems)
	}
	if status := run([]string{"capture", "--agent", none, "-r", "-", "-v"}, &copied, &out, &problems); status != 0 {
		t.Fatalf("status %d, %s", status, &problems)
	}
	if n := strings.Count(out.String(), "# host1 > host2"); n != 3 {
		t.Errorf("%d comments, want 3:\n%s", n, &out)
	}
}

// Without an agent there are no names on the wire, which is said once. Packets go on.
func TestCaptureWithoutAgent(t *testing.T) {
	roottest.Need(t)
	agent := t.TempDir() + "/none"
	for args, want := range map[string]int{
		"-i lo --timeout 1ms":            1,
		"-r " + captureFile(t) + " -c 1": 0, // has its own
	} {
		var out, problems strings.Builder
		if status := run(append([]string{"capture", "--agent", agent}, strings.Fields(args)...), strings.NewReader(""), &out, &problems); status != 0 {
			t.Errorf("%q: status %d, %s", args, status, &problems)
		}
		if got := strings.Count(problems.String(), "overlane: no names: the agent does not answer on "+agent+"\n"); got != want {
			t.Errorf("%q says %d times that there are no names, want %d:\n%s", args, got, want, &problems)
		}
	}
}

func TestCaptureRefuses(t *testing.T) {
	roottest.Need(t)
	nothing := filepath.Join(t.TempDir(), "nothing")
	if err := os.WriteFile(nothing, []byte("nothing of that kind"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]struct {
		status int
		words  string
	}{
		"-r x -i lo":            {2, "not from both"},
		"-r " + nothing:         {1, "not a pcapng or pcap file"},
		"-r /no/such/file":      {1, "no such file"},
		"-i no-such-interface":  {1, "capture on no-such-interface"},
		"--subnet blue/web":     {1, "agent"},
		"surplus":               {2, "surplus"},
		"-i lo -w /no/such/dir": {1, "no such file"},
	} {
		var out, problems strings.Builder
		status := run(append([]string{"capture", "--agent", nothing}, strings.Fields(args)...), strings.NewReader(""), &out, &problems)
		if status != want.status || !strings.Contains(problems.String(), want.words) {
			t.Errorf("%q: status %d, want %d; %s, want %q", args, status, want.status, &problems, want.words)
		}
	}
}
