package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/overlane/overlane/internal/roottest"
	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
)

// TestLabScripts runs the command line on labs. They are called cli-lab and cli-bare, and are taken down whatever
// becomes of the script.
func TestLabScripts(t *testing.T) {
	roottest.Need(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/lab",
		Setup: func(e *testscript.Env) error {
			e.Defer(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				for _, name := range []string{"cli-lab", "cli-bare"} {
					if err := downOne(ctx, name); err != nil {
						t.Error(err)
					}
				}
			})
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": wantStatus},
	})
}

// The commands of docs/lab.md work as they stand there, and its files are some.
func TestLabDocument(t *testing.T) {
	document, err := os.ReadFile("../../docs/lab.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range blocks(t, document, "yaml") {
		if _, err := lab.Parse([]byte(file)); err != nil {
			t.Errorf("the file: %v\n%s", err, file)
		}
	}
	runDocument(t, document, "article", "outside")
}

// Those of docs/drill.md, too.
func TestDrillDocument(t *testing.T) {
	document, err := os.ReadFile("../../docs/drill.md")
	if err != nil {
		t.Fatal(err)
	}
	runDocument(t, document, "internet")
}

// runDocument runs a document's commands as one script. The first of its labs is the one that is meant where none is
// named: other tests have labs, too. Those of documents have the same names in every checkout, so one document runs at
// a time.
func runDocument(t *testing.T, document []byte, labs ...string) {
	t.Helper()
	roottest.Need(t)
	lock, err := os.Create(filepath.Join(os.TempDir(), "overlane-documents.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(labtest.Binary(t), filepath.Join(bin, "overlane")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-exc", strings.Join(blocks(t, document, "sh"), ""))
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "OVERLANE_LAB="+labs[0])
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the commands: %v\n%s", err, out)
		for _, name := range labs {
			_ = exec.Command(filepath.Join(bin, "overlane"), "lab", "down", name).Run()
		}
	}
}

// blocks are the code blocks of a language.
func blocks(t *testing.T, document []byte, language string) (all []string) {
	t.Helper()
	for _, found := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(document, -1) {
		all = append(all, string(found[1]))
	}
	if all == nil {
		t.Fatalf("there is no block of %s", language)
	}
	return all
}
