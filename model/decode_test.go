package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

func TestRequestJSON(t *testing.T) {
	for _, c := range []struct{ data, problems string }{
		{`{"put":[{"kind":"VPC","name":"a"}],"delete":[{"kind":"VPC","name":"b"}]}`, ""},
		{`{"put":[{"kind":"VPC","name":"a","status":{"subnets":2,"newer":true}}]}`, ""},
		{`{}`, ""},
		{`{"puts":[]}`, `request: puts: is not a field; did you mean put?`},
		{`[]`, `request "[]": is not an object with fields; write it as fields with values`},
		{`{"put":{"kind":"VPC"}}`, `request: put "{\"kind\":\"VPC\"}": is not a list of objects; write it in brackets: [...]`},
		{`{"put":[{"kind":"Subnet","name":"a/b","spec":{"vni":-1}},null,{"kind":"vpc","name":"c"},{"kind":"VPC","name":"d","status":7}]}`,
			`Subnet a/b: spec.vni "-1": is not a VNI; write a number from 1 to 16777214
put[1] "null": is not an object with fields; write it as fields with values
vpc c: kind "vpc": is not a kind; write it as VPC
VPC d: status: is not the status of VPC; leave it out: it is measured, not given`},
	} {
		var r Request
		err := json.Unmarshal([]byte(c.data), &r)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(c.problems, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.data, diff)
		}
		if problems := new(Problems); err != nil && !errors.As(err, problems) {
			t.Errorf("%s: error is a %T", c.data, err)
		}
	}
}

func TestStatusOfItsKind(t *testing.T) {
	var o Object
	if err := json.Unmarshal([]byte(`{"kind":"Host","name":"h","revision":3,"spec":{"address":"192.0.2.1"},"status":{"ready":true}}`), &o); err != nil {
		t.Fatal(err)
	}
	if status, ok := o.Status.(*HostStatus); !ok || !status.Ready || o.Revision != 3 {
		t.Errorf("got %+v", o)
	}
}

func TestYAMLRoundTrip(t *testing.T) {
	changes, err := Admit(NewState(), outward(network(3)))
	if err != nil {
		t.Fatal(err)
	}
	var objects []Object
	for _, c := range changes {
		objects = append(objects, *c.After)
	}
	objects[0].Status = &HostStatus{Ready: true, Reason: "yes", Drops: map[string]uint64{"spoofed: MAC": 2}}
	data, err := EncodeYAML(objects...)
	if err != nil {
		t.Fatal(err)
	}
	want := `kind: Endpoint
name: vpc1/net1/ep1
spec:
  host: host0
  address: 10.1.0.2
  mac: 02:4f:0a:01:00:02
`
	if !bytes.Contains(data, []byte(want)) {
		t.Errorf("got\n%s\nwithout\n%s", data, want)
	}
	back, err := DecodeYAML(data, "net.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, objects) {
		t.Errorf("came back different: %s", cmp.Diff(objects, back))
	}
}

func TestYAMLNumbersAndWords(t *testing.T) {
	objects, err := DecodeYAML([]byte("kind: VPC\nname: \"12\"\nrevision: 0x10\nspec: {mtu: 1_400}\n---\n{\"kind\": \"VPC\", \"name\": \"on\", \"spec\": null}\n"), "net.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []Object{{Kind: "VPC", Name: "12", Revision: 16, Spec: &VPCSpec{MTU: 1400}}, {Kind: "VPC", Name: "on", Spec: &VPCSpec{}}}
	if !reflect.DeepEqual(objects, want) {
		t.Errorf("got %+v", objects)
	}
}

func TestMACText(t *testing.T) {
	for text, want := range map[string]string{"02:4F:ac:11:2a:02": "02:4f:ac:11:2a:02", "024f.ac11.2a02": "02:4f:ac:11:2a:02", "": "", "02:4f:ac:11:2a": "error", "02:4f:ac:11:2a:02:03:04": "error", "x": "error"} {
		var m MAC
		got, err := []byte("error"), m.UnmarshalText([]byte(text))
		if err == nil {
			got, err = m.MarshalText()
		}
		if string(got) != want {
			t.Errorf("%q became %q (%v), want %q", text, got, err, want)
		}
	}
}

// FuzzDecodeYAML: whatever is read is written and read back the same; whatever is not is refused with reasons.
func FuzzDecodeYAML(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := DecodeYAML(data, "fuzz.yaml")
		if err != nil {
			reasoned(t, err)
			return
		}
		again, err := EncodeYAML(objects...)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeYAML(again, "again.yaml")
		if err != nil {
			t.Fatalf("%v\n%s", err, again)
		}
		if !reflect.DeepEqual(objects, back) {
			t.Fatalf("came back different: %s", cmp.Diff(objects, back))
		}
	})
}

// FuzzDecodeRequest: nothing that the network sends makes the decoder or the admission panic.
func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"put":[{"kind":"Subnet","name":"vpc0/b","revision":0,"spec":{"cidr":"10.200.0.0/24","vni":7,"gateway":"10.200.0.9"}}],"delete":[{"kind":"Endpoint","name":"vpc0/net0/ep0"}]}`))
	f.Add([]byte(`{"put":[{"kind":"Host","name":"h","spec":{"address":"192.0.2.1","mtu":9000,"roles":["edge"]}}]}`))
	f.Add([]byte(`{"put":[{"kind":"Endpoint","name":"vpc0/net0/x","spec":{"mac":"02:4f:0a:00:00:02","attachment":{"netns":"/x"}}}]}`))
	f.Add([]byte(`{"put":[{"kind":"InternetGateway","name":"vpc0","spec":{"design":"central","hosts":["h"],"allow":["192.0.2.0/24"]}},{"kind":"PublicIP","name":"vpc0/x","spec":{"address":"203.0.113.3","endpoint":"vpc0/net0/x"}}]}`))
	f.Add([]byte(`{"put":[{"kind":"PublicPool","name":"p","spec":{"cidrs":["198.51.100.0/31"]}},{"kind":"Host","name":"host0","spec":{"address":"192.168.0.0","natPrefix":"10.200.0.0/32"}}],"delete":[{"kind":"Endpoint","name":"vpc0/net0/ep0"}]}`))
	state := stateOf(f, outward(network(3)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Request
		if err := r.UnmarshalJSON(data); err != nil {
			reasoned(t, err)
			return
		}
		changes, err := Admit(state, r)
		if conflict := new(Conflict); err != nil && !errors.As(err, conflict) {
			reasoned(t, err)
		}
		if broken := brokenRules(commit(state, changes)); len(broken) > 0 {
			t.Fatalf("rules are broken: %s", strings.Join(broken, "; "))
		}
	})
}

func seed(f *testing.F) {
	files, err := filepath.Glob("testdata/admit/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, section := range txtar.Parse(data).Files {
			f.Add(section.Data)
		}
	}
}

func reasoned(t *testing.T, err error) {
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("%T: %v", err, err)
	}
	for _, p := range problems {
		if p.Object == "" || p.Reason == "" || p.Remedy == "" {
			t.Fatalf("problem without object, reason or remedy: %+v", p)
		}
	}
}
