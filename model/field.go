package model

import (
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// Field is one field of a kind as people read it: in docs/reference.md, by "overlane explain" and in the OpenAPI
// document. Name, type and order come from the Go type, the rest from its tags:
//
//	doc      what the field is for, in sentences
//	type     the type in words, where the Go type does not say enough
//	unit     unit of a number
//	default  what Overlane takes if the field of a spec is absent
//	allowed  range or list of allowed values
//	kept     "true": an update that leaves the field out keeps the stored value
//	by       who writes the field, if not the user
//	example  a value, as YAML
type Field struct {
	Name    string // in JSON: "mtu"
	Type    string // in words: "integer", "list of IPv4 addresses"
	Doc     string
	Unit    string
	Default string
	Allowed string
	Kept    bool
	By      string
	Example string

	Required bool    // in a spec; in a status: the field is always there
	Fields   []Field // of an object, or of each object of a list
}

// Fields are two, spec and status, with the fields of the kind inside, in the order of their Go types.
func (k Kind) Fields() []Field {
	return []Field{
		{Name: "spec", Type: "object", Doc: "What is wanted.", Fields: treeOf(reflect.TypeOf(k.New()).Elem())},
		{Name: "status", Type: "object", Doc: "What was measured; never written.", Fields: treeOf(reflect.TypeOf(k.NewStatus()).Elem())},
	}
}

// Field finds a field by its path, like "spec.dhcp.lease", in any case, and gives the path as it is written. Without
// "spec" or "status" in front the path is looked up in the spec, then in the status. The error is a [Problem] whose
// remedy names a similar path.
func (k Kind) Field(path string) (string, Field, error) {
	roots := k.Fields()
	for _, prefix := range []string{"", "spec.", "status."} {
		if whole, f, ok := fieldAt(roots, prefix+path); ok {
			return whole, f, nil
		}
	}
	var all []string
	for _, root := range roots {
		all = append(all, pathsOf(root.Fields)...)
	}
	inner := strings.TrimPrefix(strings.TrimPrefix(path, "spec."), "status.")
	return "", Field{}, Problems{{Object: k.Name, Field: clip(path), Reason: "is not a field", Remedy: suggest(inner, all, "overlane explain "+k.Name+" shows all")}}
}

func fieldAt(fields []Field, path string) (string, Field, bool) {
	name, rest, nested := strings.Cut(path, ".")
	for _, f := range fields {
		if !strings.EqualFold(f.Name, name) {
			continue
		}
		if !nested {
			return f.Name, f, true
		}
		inner, found, ok := fieldAt(f.Fields, rest)
		return f.Name + "." + inner, found, ok
	}
	return "", Field{}, false
}

// pathsOf are the paths of fields and of all fields inside them.
func pathsOf(fields []Field) (paths []string) {
	for _, f := range fields {
		paths = append(paths, f.Name)
		for _, inner := range pathsOf(f.Fields) {
			paths = append(paths, f.Name+"."+inner)
		}
	}
	return paths
}

// Described is a doc tag with the facts of the other tags behind it: the description in the OpenAPI document.
func Described(tag reflect.StructTag) string {
	f := tagged(tag)
	var facts []string
	for _, fact := range []struct{ label, value string }{{"Unit: ", f.Unit}, {"Allowed: ", f.Allowed}, {"Default: ", f.Default}} {
		if fact.value != "" {
			facts = append(facts, " "+fact.label+fact.value+".")
		}
	}
	return f.Doc + strings.Join(facts, "")
}

// Absent is what becomes of a field of a spec that users leave out.
func (f Field) Absent() string {
	switch {
	case f.Required:
		return "required"
	case f.Kept && f.Default != "":
		return f.Default + "; kept by an update"
	}
	return f.Default
}

// tagged is a field as far as its tags go.
func tagged(tag reflect.StructTag) Field {
	return Field{
		Type: tag.Get("type"), Doc: tag.Get("doc"), Unit: tag.Get("unit"), Default: tag.Get("default"), Allowed: tag.Get("allowed"),
		Kept: tag.Get("kept") == "true", By: tag.Get("by"), Example: tag.Get("example"),
	}
}

// treeOf are the fields of a struct, and of the structs inside it.
func treeOf(t reflect.Type) (fields []Field) {
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		f := tagged(t.Field(i).Tag)
		f.Name, f.Required = name, options == "" && f.Example != ""
		if f.Type == "" {
			f.Type = typeInWords(t.Field(i).Type)
		}
		if inner := elementOf(t.Field(i).Type); inner.Kind() == reflect.Struct && texts[inner] == "" {
			f.Fields = treeOf(inner)
		}
		fields = append(fields, f)
	}
	return fields
}

// elementOf is the type that pointers and slices of it lead to.
func elementOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

// texts are the types that are text in JSON whatever their structure is.
var texts = map[reflect.Type]string{
	reflect.TypeFor[netip.Addr]():   "IPv4 address",
	reflect.TypeFor[netip.Prefix](): "IPv4 CIDR",
	reflect.TypeFor[MAC]():          "MAC address",
	reflect.TypeFor[StaticRoute]():  "route",
	reflect.TypeFor[time.Time]():    "time",
}

func typeInWords(t reflect.Type) string {
	if word, ok := texts[t]; ok {
		return word
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeInWords(t.Elem())
	case reflect.Slice:
		return "list of " + plural(typeInWords(t.Elem()))
	case reflect.Map:
		return "map from " + typeInWords(t.Key()) + " to " + typeInWords(t.Elem())
	case reflect.Struct:
		return "object"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	}
	return "integer"
}

func plural(noun string) string {
	if strings.HasSuffix(noun, "s") {
		return noun + "es"
	}
	return noun + "s"
}
