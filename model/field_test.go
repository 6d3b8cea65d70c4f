package model

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReferenceIsFresh(t *testing.T) {
	const path = "../docs/reference.md"
	if *update {
		if err := os.WriteFile(path, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Reference(), string(have)); diff != "" {
		t.Errorf("docs/reference.md is stale; run make docs (-want +have):\n%s", diff)
	}
}

// eachField visits the fields of a kind and the fields inside them.
func eachField(fields []Field, prefix string, visit func(path string, f Field)) {
	for _, f := range fields {
		visit(prefix+f.Name, f)
		eachField(f.Fields, prefix+f.Name+".", visit)
	}
}

// TestEveryFieldIsExplained: a text for each field, and for what users write a default and an example.
func TestEveryFieldIsExplained(t *testing.T) {
	for _, k := range Kinds {
		eachField(k.Fields(), "", func(path string, f Field) {
			for _, problem := range unexplained(path, f) {
				t.Errorf("%s.%s %s", k.Name, path, problem)
			}
		})
	}
}

// unexplained says what is missing from the tags of a field.
func unexplained(path string, f Field) (problems []string) {
	if !strings.HasSuffix(f.Doc, ".") {
		problems = append(problems, "has no doc tag that is a sentence")
	}
	if f.Name == "" || f.Type == "" {
		problems = append(problems, "has no name or no type")
	}
	if !strings.HasPrefix(path, "spec.") || f.By == "Overlane" {
		return problems
	}
	if f.Required == (f.Default != "") {
		problems = append(problems, "is required and has a default, or neither: see its json and default tags")
	}
	if (f.Example == "") != (f.By != "" || f.Fields != nil) {
		problems = append(problems, "wants an example if users write it, and only then")
	}
	return problems
}

func TestUnexplainedIsSeen(t *testing.T) {
	good := Field{Name: "mtu", Type: "integer", Doc: "MTU.", Default: "1500", Example: "1500"}
	if problems := unexplained("spec.mtu", good); problems != nil {
		t.Errorf("%q", problems)
	}
	for _, spoil := range []func(*Field){
		func(f *Field) { f.Doc = "" }, func(f *Field) { f.Doc = "MTU" }, func(f *Field) { f.Default = "" },
		func(f *Field) { f.Required = true }, func(f *Field) { f.Example = "" },
	} {
		f := good
		spoil(&f)
		if unexplained("spec.mtu", f) == nil {
			t.Errorf("nothing is missing from %+v", f)
		}
	}
}

// examples are the examples of all kinds, and what they need besides.
func examples(t *testing.T) []Object {
	t.Helper()
	text := "kind: PublicIP\nname: blue/www\n" // the one that the Forward names
	for _, k := range Kinds {
		text += "---\n" + k.Example()
	}
	objects, err := DecodeYAML([]byte(text), "examples")
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// admitted is the state after a request.
func admitted(t *testing.T, s *State, put ...Object) *State {
	t.Helper()
	changes, err := Admit(s, Request{Put: put})
	if err != nil {
		t.Fatal(err)
	}
	return s.With(1, changes)
}

func TestExamplesAreAdmitted(t *testing.T) { admitted(t, NewState(), examples(t)...) }

// TestKeptIsTrue: an update without a field keeps the stored value where the field's tag says so, and nowhere else.
func TestKeptIsTrue(t *testing.T) {
	stored := admitted(t, NewState(), examples(t)...)
	for _, o := range examples(t) {
		kind, _ := kindNamed(o.Kind)
		for _, f := range kind.Fields()[0].Fields {
			if f.Required || f.By != "" || f.Example == f.Default {
				continue
			}
			example, given := jsonOf(t, &o)[f.Name]
			if !given {
				continue
			}
			without := lacking(t, o, f.Name)
			got := jsonOf(t, admitted(t, stored, *without).Get(o.Key()))[f.Name]
			if kept := reflect.DeepEqual(got, example); kept != f.Kept {
				t.Errorf("%s.spec.%s: kept is %v in fact, and %v in its tag", o.Kind, f.Name, kept, f.Kept)
			}
		}
	}
}

// jsonOf is a spec as JSON has it.
func jsonOf(t *testing.T, o *Object) (spec map[string]any) {
	t.Helper()
	text, err := json.Marshal(o.Spec)
	if err == nil {
		err = json.Unmarshal(text, &spec)
	}
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// lacking is an object without one field of its spec.
func lacking(t *testing.T, o Object, field string) *Object {
	t.Helper()
	spec := jsonOf(t, &o)
	delete(spec, field)
	text, err := json.Marshal(map[string]any{"kind": o.Kind, "name": o.Name, "spec": spec})
	if err != nil {
		t.Fatal(err)
	}
	var without Object
	if err := json.Unmarshal(text, &without); err != nil {
		t.Fatal(err)
	}
	return &without
}

func TestFieldByPath(t *testing.T) {
	subnet, _ := KindByName("sn")
	for path, want := range map[string]string{
		"cidr": "spec.cidr", "spec.CIDR": "spec.cidr", "dhcp.LEASE": "spec.dhcp.lease", "free": "status.free",
		"status.endpoints.ready": "status.endpoints.ready", "spec": "spec", "status": "status",
	} {
		if whole, f, err := subnet.Field(path); err != nil || whole != want || !strings.HasSuffix(want, f.Name) {
			t.Errorf("%s is %s (%s, %v), want %s", path, whole, f.Name, err, want)
		}
	}
	for path, remedy := range map[string]string{"spec.cidrs": "did you mean", "dhcp.leese": "did you mean dhcp.lease?", "nothing.like.this.at.all": "shows all", "": "shows all", "cidr.bits": ""} {
		if _, _, err := subnet.Field(path); err == nil || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%q: %v, want %q", path, err, remedy)
		}
	}
}
