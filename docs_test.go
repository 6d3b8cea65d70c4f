package overlane_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
)

// documents are the Markdown files of the repository.
func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

func readDocument(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	link    = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]*))?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	spaces  = regexp.MustCompile(`[^\p{L}\p{N}\- ]`)
)

// anchors are the headings of a document as links name them.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		all[strings.ReplaceAll(spaces.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	return all
}

// TestLinksLeadSomewhere: every relative link of a document names a file of the repository, and a heading of it.
func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for _, path := range documents(t) {
		for _, found := range link.FindAllStringSubmatch(readDocument(t, path), -1) {
			target, anchor := found[1], found[2]
			if strings.Contains(target, "://") {
				continue
			}
			links++
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s is not there", path, found[0])
			} else if anchor != "" && !anchors(readDocument(t, to))[anchor] {
				t.Errorf("%s: %s has no heading %q", path, to, anchor)
			}
		}
	}
	if links == 0 {
		t.Error("no document has a link")
	}
}

// source is a file or folder of the repository as documents name it.
var source = regexp.MustCompile("(?:`|  )((?:[a-z0-9_-]+/)+[a-z0-9_*.-]+\\.(?:go|txtar|md|yaml)|[a-z]+_test\\.go)`?")

// TestSourcesAreThere: files that documents name exist. Decisions and the changelog speak of their own time.
func TestSourcesAreThere(t *testing.T) {
	named := 0
	for _, path := range documents(t) {
		if strings.HasPrefix(path, "docs/decisions/") || path == "CHANGELOG.md" {
			continue
		}
		for _, found := range source.FindAllStringSubmatch(readDocument(t, path), -1) {
			named++
			if there, err := filepath.Glob(found[1]); err != nil || there == nil {
				t.Errorf("%s names %s, which is not there", path, found[1])
			}
		}
	}
	if named == 0 {
		t.Error("no document names a file")
	}
}

// TestFoldersAreDescribed: the table of folders in architecture.md has every folder with a package.
func TestFoldersAreDescribed(t *testing.T) {
	_, text, _ := strings.Cut(readDocument(t, "docs/architecture.md"), "## Folders")
	text, _, _ = strings.Cut(text, "## ")
	for _, p := range packages(t) {
		folder, _, _ := strings.Cut(strings.TrimPrefix(p.ImportPath, module+"/"), "/")
		if !strings.Contains(text, "`"+folder) {
			t.Errorf("docs/architecture.md does not say what %s is for", folder)
		}
	}
}

// TestTablesAreThere: the walks of packets in architecture.md name tables of the pipeline.
func TestTablesAreThere(t *testing.T) {
	text := readDocument(t, "docs/architecture.md")
	_, text, _ = strings.Cut(text, "## A packet from container")
	text, _, found := strings.Cut(text, "## Invariants")
	if !found {
		t.Fatal("architecture.md has no walk of a packet")
	}
	known := map[string]bool{"a": true, "b": true, "this type": true}
	for _, table := range dataplane.Tables {
		known[table.Name] = true
	}
	for _, word := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		if !known[word[1]] {
			t.Errorf("architecture.md: %s is no table", word[1])
		}
	}
}

// TestDropsAreThere: a drop that a document names is one of the pipeline's, or a counter that the agent adds.
func TestDropsAreThere(t *testing.T) {
	known := map[string]bool{}
	for _, d := range slices.Concat(dataplane.Drops, dataplane.OtherDrops) {
		known[d.Name] = true
	}
	named := regexp.MustCompile("(?:drop|counted\\s+as|datapath\\s+as|counts?) `([a-z-]+)`")
	for _, path := range []string{"README.md", "docs/operations.md", "docs/public-addresses.md", "docs/security.md"} {
		for _, found := range named.FindAllStringSubmatch(readDocument(t, path), -1) {
			if !known[found[1]] {
				t.Errorf("%s: there is no drop %s", path, found[1])
			}
		}
	}
}

// printed are documents that the code prints.
var printed = []string{"docs/reference.md", "docs/pipeline.md"}

// TestDocumentsAreShort: what a stranger reads first fits into ten minutes, and lines fit into a window. Tables, code
// and printed documents may be wider; decisions are as they were written.
func TestDocumentsAreShort(t *testing.T) {
	for path, most := range map[string]int{"README.md": 100, "docs/architecture.md": 120} {
		if lines := strings.Count(readDocument(t, path), "\n"); lines > most {
			t.Errorf("%s has %d lines, and %d at most are allowed", path, lines, most)
		}
	}
	for _, path := range documents(t) {
		if written := !strings.HasPrefix(path, "docs/decisions/") && !slices.Contains(printed, path) && path != "CHANGELOG.md"; !written {
			continue
		}
		code := false
		for i, line := range strings.Split(readDocument(t, path), "\n") {
			if strings.HasPrefix(line, "```") {
				code = !code
			}
			if !code && !strings.HasPrefix(line, "|") && utf8.RuneCountInString(line) > 100 {
				t.Errorf("%s:%d has %d columns, and prose has at most 100", path, i+1, utf8.RuneCountInString(line))
			}
		}
	}
}

// TestExamplesOfDocumentsAreAdmitted: each example of public-addresses.md is intent that a server accepts.
func TestExamplesOfDocumentsAreAdmitted(t *testing.T) {
	base := admitted(t, model.NewState(), "kind: VPC\nname: blue\n---\nkind: Subnet\nname: blue/web\nspec: {cidr: 172.17.42.0/24}")
	examples := 0
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readDocument(t, "docs/public-addresses.md"), -1) {
		admitted(t, base, block[1])
		examples++
	}
	if examples == 0 {
		t.Error("there is no example")
	}
}

// admitted is the state after a request, in YAML.
func admitted(t *testing.T, s *model.State, yaml string) *model.State {
	t.Helper()
	objects, err := model.DecodeYAML([]byte(yaml), "example")
	if err != nil {
		t.Fatalf("%v\n%s", err, yaml)
	}
	changes, err := model.Admit(s, model.Request{Put: objects})
	if err != nil {
		t.Fatalf("%v\n%s", err, yaml)
	}
	return s.With(1, changes)
}

// TestAgentConfigurationIsDocumented: operations.md has a row for each field of agent.yaml, and no other.
func TestAgentConfigurationIsDocumented(t *testing.T) {
	_, text, _ := strings.Cut(readDocument(t, "docs/operations.md"), "## The agent's configuration")
	text, _, _ = strings.Cut(text, "## ")
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(text, -1) {
		documented[row[1]] = true
	}
	config := reflect.TypeFor[local.Config]()
	for i := range config.NumField() {
		name, _, _ := strings.Cut(config.Field(i).Tag.Get("json"), ",")
		if name != "-" && !documented[name] {
			t.Errorf("docs/operations.md does not have %s", name)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("agent.yaml has no %s", name)
	}
}
