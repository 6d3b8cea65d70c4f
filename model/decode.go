package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
)

// UnmarshalJSON reads an object strictly: every field must be known and of the right type. The kind decides which Spec
// and Status it gets; a spec that is absent is an empty one. It judges no value: that is Check's and [Admit]'s work.
// The error is [Problems].
func (o *Object) UnmarshalJSON(data []byte) error {
	decoded, problems := decodeObject(data, "object")
	if len(problems) > 0 {
		return problems
	}
	*o = decoded
	return nil
}

// UnmarshalJSON reads a request as strictly as its objects. The error is [Problems], those of all objects.
func (r *Request) UnmarshalJSON(data []byte) error {
	var raw struct {
		Put    []json.RawMessage `json:"put"`
		Delete []Key             `json:"delete"`
	}
	d := decoder{findings{object: "request"}}
	d.structure("", data, reflect.ValueOf(&raw).Elem())
	r.Put, r.Delete = nil, raw.Delete
	for i, one := range raw.Put {
		o, problems := decodeObject(one, fmt.Sprintf("put[%d]", i))
		r.Put = append(r.Put, o)
		d.problems = append(d.problems, problems...)
	}
	if len(d.problems) > 0 {
		return d.problems
	}
	return nil
}

// decodeObject reads one object. Until its kind and name are known it is called where.
func decodeObject(data []byte, where string) (Object, Problems) {
	d := decoder{findings{object: where}}
	var raw struct {
		Kind     string          `json:"kind"`
		Name     string          `json:"name"`
		Revision int64           `json:"revision"`
		Spec     json.RawMessage `json:"spec"`
		Status   json.RawMessage `json:"status"`
	}
	if !d.structure("", data, reflect.ValueOf(&raw).Elem()) {
		return Object{}, d.problems
	}
	if raw.Kind != "" && raw.Name != "" {
		d.rename(findingsOf(Key{clip(raw.Kind), clip(raw.Name)}).object)
	}
	kind, ok := kindNamed(raw.Kind)
	if !ok {
		if !d.reported("kind") {
			d.kindMissing(raw.Kind)
		}
		return Object{}, d.problems
	}
	if raw.Name == "" && !d.reported("name") {
		d.add("name", nil, "is missing", "name it "+strings.Join(kind.Path, "/"))
	}
	o := Object{Kind: raw.Kind, Name: raw.Name, Revision: raw.Revision, Spec: kind.New()}
	if present(raw.Spec) {
		d.structure("spec.", raw.Spec, reflect.ValueOf(o.Spec).Elem())
	}
	if present(raw.Status) {
		o.Status = d.status(kind, raw.Status)
	}
	return o, d.problems
}

// decoder reads JSON into structs, and goes on after each problem so as to find them all.
type decoder struct{ findings }

func (d *decoder) rename(object string) {
	d.object = object
	for i := range d.problems {
		d.problems[i].Object = object
	}
}

func (d *decoder) reported(field string) bool {
	for _, p := range d.problems {
		if p.Field == field {
			return true
		}
	}
	return false
}

func (d *decoder) kindMissing(given string) {
	if given == "" {
		d.add("kind", nil, "is missing", suggestKind(given))
		return
	}
	d.add("kind", given, "is not a kind", suggestKind(given))
}

// status is read leniently: it comes from an agent, which may be newer than we are.
func (d *decoder) status(kind Kind, data json.RawMessage) any {
	status := kind.NewStatus()
	if err := json.Unmarshal(data, status); err != nil {
		d.add("status", nil, "is not the status of "+kind.Name, "leave it out: it is measured, not given")
		return nil
	}
	return status
}

// structure reads a JSON object into a struct; prefix is what comes before its fields' names in a problem. False: it is
// not an object at all.
func (d *decoder) structure(prefix string, data []byte, into reflect.Value) bool {
	members, err := membersOf(data)
	if err != nil {
		d.add(strings.TrimSuffix(prefix, "."), brief(data), "is not an object with fields", "write it as fields with values")
		return false
	}
	fields := fieldsOf(into)
	seen := map[string]bool{}
	for _, m := range members {
		field, ok := fields.byName[m.name]
		switch {
		case !ok:
			d.add(prefix+clip(m.name), nil, "is not a field", suggest(m.name, fields.names, "use one of "+strings.Join(fields.names, ", ")))
		case seen[m.name]:
			d.add(prefix+m.name, brief(m.value), "is given twice", "leave one out")
		case present(m.value):
			d.field(prefix+m.name, m.value, field)
		}
		seen[m.name] = true
	}
	return true
}

// field reads one value.
func (d *decoder) field(path string, data json.RawMessage, into reflect.Value) {
	target := into
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		target = into.Elem()
	}
	if _, isText := target.Addr().Interface().(interface{ UnmarshalText([]byte) error }); !isText && target.Kind() == reflect.Struct {
		d.structure(path+".", data, target)
		return
	}
	if err := json.Unmarshal(data, target.Addr().Interface()); err != nil {
		what, remedy := wanted(target.Type(), data)
		d.add(path, brief(data), "is not "+what, remedy)
		target.SetZero()
	}
}

// wanted is what a value of the type is, and how to write one.
func wanted(t reflect.Type, data []byte) (what, remedy string) {
	switch t {
	case reflect.TypeFor[netip.Addr]():
		return "an IP address", "write it like 10.0.0.2"
	case reflect.TypeFor[netip.Prefix]():
		return "a CIDR", "write it like 10.0.0.0/24"
	case reflect.TypeFor[MAC]():
		return "an Ethernet address", "write six bytes in hex, like 02:4f:0a:00:00:02"
	case reflect.TypeFor[[]netip.Addr]():
		return "a list of IP addresses", "write it like [10.0.0.2]"
	case reflect.TypeFor[[]netip.Prefix]():
		return "a list of CIDRs", "write it like [203.0.113.0/24]"
	case reflect.TypeFor[[]StaticRoute]():
		return "a list of routes", "write it like [10.9.0.0/16 via 10.0.0.7]"
	case reflect.TypeFor[VNI]():
		return "a VNI", fmt.Sprintf("write a number from %d to %d", MinVNI, MaxVNI)
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint16:
		return "a whole number", "write digits only"
	case reflect.Bool:
		return "true or false", "write true or false"
	case reflect.String:
		if bytes.ContainsAny(data[:1], "[{") {
			return "text", "write one text, without brackets"
		}
		return "text", fmt.Sprintf("put it in quotes: %q", brief(data))
	case reflect.Slice:
		if t.Elem().Kind() == reflect.String {
			return "a list of texts", "write it like [a, b]"
		}
		return "a list of objects", "write it in brackets: [...]"
	}
	return "a " + t.Name(), "see the documentation"
}

// brief is a JSON value as it is shown to people: text without its quotes.
func brief(data []byte) string {
	data = bytes.TrimSpace(data)
	var text string
	if bytes.HasPrefix(data, []byte{'"'}) && json.Unmarshal(data, &text) == nil {
		return clip(text)
	}
	return clip(string(data))
}

// present reports whether a member has a value; null is the same as leaving it out.
func present(data []byte) bool { return len(data) > 0 && string(data) != "null" }

type member struct {
	name  string
	value json.RawMessage
}

// membersOf are the members of a JSON object, in order; a name may occur twice.
func membersOf(data []byte) ([]member, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, fmt.Errorf("decode object: starts with %v, not with {", open)
	}
	var members []member
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("decode object: %w", err)
		}
		m := member{name: name.(string)}
		if err := dec.Decode(&m.value); err != nil {
			return nil, fmt.Errorf("decode field %q: %w", m.name, err)
		}
		members = append(members, m)
	}
	return members, nil
}

// fields are a struct's, by their JSON names.
type fields struct {
	names  []string
	byName map[string]reflect.Value
}

func fieldsOf(structure reflect.Value) fields {
	f := fields{byName: map[string]reflect.Value{}}
	for i := range structure.NumField() {
		name, _, _ := strings.Cut(structure.Type().Field(i).Tag.Get("json"), ",")
		f.names = append(f.names, name)
		f.byName[name] = structure.Field(i)
	}
	return f
}
