package yamljson

import (
	"net/netip"
	"strings"
	"testing"
)

type part struct {
	Name string     `json:"name"`
	IP   netip.Addr `json:"ip,omitzero"`
	Live bool       `json:"live,omitempty"`
	Size int        `json:"size,omitempty"`
}

type whole struct {
	Name  string            `json:"name,omitempty"`
	Parts []part            `json:"parts,omitempty"`
	Part  *part             `json:"part,omitempty"`
	Free  map[string]any    `json:"free,omitempty"`
	Texts map[string]string `json:"texts,omitempty"`
}

// What a text means, written again. The results are those of sigs.k8s.io/yaml, with which 0.1.0 read its files.
func TestRoundTrip(t *testing.T) {
	for text, want := range map[string]string{
		"":            "{}\n",
		"# nothing\n": "{}\n",
		"name: 123\nparts: [{name: a, ip: 10.0.0.1, live: yes}, {name: no1, live: off, size: 7}]\n": "name: \"123\"\nparts:\n- ip: 10.0.0.1\n  live: true\n  name: a\n- name: no1\n  size: 7\n",
		"name: \"yes\"\npart:\n  name: 1.5\n  live: true\n  size: 0x10\n":                           "name: \"yes\"\npart:\n  live: true\n  name: \"1.5\"\n  size: 16\n",
		"free: {mtu: 1400, deep: [1, true, x, null], text: \"1\"}\ntexts: {a: 1, b: c}\n":           "free:\n  deep:\n  - 1\n  - true\n  - x\n  - null\n  mtu: 1400\n  text: \"1\"\ntexts:\n  a: \"1\"\n  b: c\n",
		"part: &p {name: a, size: 3}\nparts:\n- *p\n- <<: *p\n  live: true\n":                       "part:\n  name: a\n  size: 3\nparts:\n- name: a\n  size: 3\n- live: true\n  name: a\n  size: 3\n",
		"name: null\npart: ~\n":            "{}\n",
		"{\"name\": \"j\", \"parts\": []}": "name: j\n",
		"NAME: upper\n":                    "name: upper\n",
		"name: 2001-01-01\n":               "name: \"2001-01-01\"\n",
	} {
		var w whole
		if err := Unmarshal([]byte(text), &w); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got, err := Marshal(w); err != nil || string(got) != want {
			t.Errorf("%s: wrote %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"name: a\nparts:\n- name: b\n  ram: 1\n": `line 4: unknown field "ram"`,
		"name: a\nname: b\n":                     `mapping key "name" already defined at line 1`,
		"part: {name: a, live: maybe}\n":         "of type bool",
		"part: {name: a, ip: 10.0.0}\n":          "10.0.0",
		"name: [\n":                              "yaml: ",
		"- a\n":                                  "cannot unmarshal array",
	} {
		var w whole
		if err := Unmarshal([]byte(text), &w); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// What v holds already stays, unless the text says otherwise.
func TestUnmarshalOver(t *testing.T) {
	m := map[string]any{"a": 1, "b": 2}
	if err := Unmarshal([]byte("b: three\nc: 4\n"), &m); err != nil {
		t.Fatal(err)
	}
	if got, err := Marshal(m); err != nil || string(got) != "a: 1\nb: three\nc: 4\n" {
		t.Errorf("got %q, %v", got, err)
	}
}
