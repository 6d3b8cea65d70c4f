package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
)

// TestLabScripts runs the command line on labs. They are called cli-lab and cli-bare, and are taken down whatever becomes of the script.
func TestLabScripts(t *testing.T) {
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

// The commands of docs/lab.md work as they stand there, and its file is one.
func TestLabDocument(t *testing.T) {
	document, err := os.ReadFile("../../docs/lab.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Parse(block(t, document, "yaml")); err != nil {
		t.Errorf("the file: %v", err)
	}
	bin := t.TempDir()
	if err := os.Symlink(labtest.Binary(t), filepath.Join(bin, "overlane")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-exc", string(block(t, document, "sh")))
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "OVERLANE_LAB=article") // other tests have labs, too
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the commands: %v\n%s", err, out)
		_ = exec.Command(filepath.Join(bin, "overlane"), "lab", "down", "article").Run()
	}
}

// block is the first code block of a language.
func block(t *testing.T, document []byte, language string) []byte {
	t.Helper()
	found := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(document)
	if found == nil {
		t.Fatalf("there is no block of %s", language)
	}
	return found[1]
}
