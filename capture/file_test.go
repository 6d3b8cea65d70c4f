package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	var file bytes.Buffer
	var want []Packet
	w := NewWriter(&file, NewNames(testView))
	for i, n := range frames(t) {
		p := n.packet()
		p.Interface = []string{"eth0", "eth1"}[i%2]
		f := Decode(p, DefaultPort)
		if err := w.Write(p, &f); err != nil {
			t.Fatal(err)
		}
		if c := NewNames(testView).comment(&f); c != "" {
			p.Comments = []string{c}
		}
		want = append(want, p)
	}
	if err := w.Close(Stats{Seen: 30, Dropped: 2}); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, &file)
	for i := range got {
		got[i].Time = got[i].Time.UTC()
		if len(got[i].Data) == 0 {
			got[i].Data = nil
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
}

func TestWithoutPacketsTheFileStillOpens(t *testing.T) {
	var file bytes.Buffer
	if err := NewWriter(&file, Names{}).Close(Stats{}); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, &file); len(got) != 0 {
		t.Error(got)
	}
}

func readAll(t *testing.T, in io.Reader) (all []Packet) {
	t.Helper()
	f, err := Read(in)
	if err != nil {
		t.Fatal(err)
	}
	for {
		p, err := f.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// Tshark is the oracle: it reads the file, and sees the same VNI, inner addresses and comments.
func TestTsharkAgrees(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcapng")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(file, NewNames(testView))
	for _, n := range frames(t)[:3] {
		f := Decode(n.packet(), DefaultPort)
		if err := w.Write(n.packet(), &f); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(Stats{Seen: 3}), file.Close()); err != nil {
		t.Fatal(err)
	}
	got := run(t, "tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=|", "-e", "frame.interface_name", "-e", "frame.time_epoch",
		"-e", "vxlan.vni", "-e", "ip.src", "-e", "ip.dst", "-e", "icmp.type", "-e", "frame.comment")
	want := `eth0|1795464001.234567000|100|192.168.5.2,172.17.42.2|192.168.5.3,172.17.42.10|8|host1 > host2, blue/web, blue/web/web1 > blue/web/db1
eth0|1795464001.234567000|100|192.168.5.2,172.17.42.10|192.168.5.3,172.17.42.2|0|host1 > host2, blue/web, blue/web/db1 > blue/web/web1
eth0|1795464001.234567000|200|192.168.5.2,172.17.42.2|192.168.5.3,172.17.42.10|8|host1 > host2, red/web, red/web/cart > red/web/store
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func run(t *testing.T, argv ...string) string {
	t.Helper()
	var problems strings.Builder
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, problems.String())
	}
	return string(out)
}

// Files come from elsewhere: none makes the reader panic.
func FuzzRead(f *testing.F) {
	var file bytes.Buffer
	w := NewWriter(&file, NewNames(testView))
	for _, n := range frames(f) {
		frame := Decode(n.packet(), DefaultPort)
		if err := w.Write(n.packet(), &frame); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(Stats{}); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add(file.Bytes()[:200])
	f.Add([]byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x01\x00\x00\x00"))
	f.Add([]byte("no capture file"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := Read(bytes.NewReader(data))
		for err == nil {
			var p Packet
			if p, err = in.Next(context.Background()); err == nil && p.Length < len(p.Data) {
				t.Errorf("length %d of %d bytes", p.Length, len(p.Data))
			}
		}
	})
}
