package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/overlane/overlane/internal/atomicfile"
	"github.com/overlane/overlane/view"
)

// The view is on the host's disk, so that an agent that starts while the server is away can put back what is missing in
// the switch. The file is a header, a complete delta, and the deltas since, a line each: what a change costs does not
// grow with what there is.

type journal struct {
	path     string
	pending  bytes.Buffer // lines that are not in the file yet
	outdated bool         // the file is to be written anew
	size     int64        // of the file
	base     int64        // its size when it was last written anew
}

type journalHeader struct {
	Host string `json:"host"`
}

// loadView leaves the view empty where there is no journal, or one of another host. A last line that a crash has cut is
// left out; the server will tell it again.
func (i *intent) loadView() error {
	f, err := os.Open(i.journal.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the last view: %w", err)
	}
	defer f.Close()
	i.journal.outdated = true
	lines := json.NewDecoder(bufio.NewReader(f))
	var header journalHeader
	if err := lines.Decode(&header); err != nil || header.Host != i.view.Host {
		return i.unlessCut(err)
	}
	for {
		var d view.Delta
		if err := lines.Decode(&d); err != nil {
			return i.unlessCut(err)
		}
		i.take(d)
	}
}

func (i *intent) unlessCut(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return fmt.Errorf("read the last view %s: %w", i.journal.path, err)
}

// note keeps a delta that has been applied for the next save.
func (j *journal) note(d view.Delta) error {
	j.outdated = j.outdated || d.Complete
	if j.outdated {
		return nil
	}
	return json.NewEncoder(&j.pending).Encode(d)
}

// save brings the file up to date.
func (i *intent) saveView() error {
	j := &i.journal
	if j.size+int64(j.pending.Len()) > 2*j.base+1<<20 {
		j.outdated = true
	}
	var err error
	switch {
	case j.outdated:
		err = j.rewrite(i.view.Host, i.view.Delta(i.revision))
	case j.pending.Len() > 0:
		err = j.append()
	}
	if err != nil {
		return fmt.Errorf("save the view: %w", err)
	}
	return nil
}

// rewrite replaces the file in one step: a crash, also one of the machine, leaves the old one or the new one.
func (j *journal) rewrite(host string, whole view.Delta) error {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	if err := errors.Join(lines.Encode(journalHeader{host}), lines.Encode(whole)); err != nil {
		return err
	}
	if err := atomicfile.Write(j.path, b.Bytes(), 0o600); err != nil {
		return err
	}
	j.size, j.base, j.outdated = int64(b.Len()), int64(b.Len()), false
	j.pending.Reset()
	return nil
}

// append does not wait for the disk: what a crash of the machine costs, the server tells again.
func (j *journal) append() error {
	f, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		j.outdated = true // it is gone, say: the next save writes it anew
		return err
	}
	n, err := f.Write(j.pending.Bytes())
	j.size += int64(n)
	if err = errors.Join(err, f.Close()); err != nil {
		j.outdated = true
		return err
	}
	j.pending.Reset()
	return nil
}
