package model

import (
	"fmt"
	"strings"
)

// Reference is docs/reference.md: every kind with its fields.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, k := range Kinds {
		fmt.Fprintf(&b, "- [%s](#%s): %s\n", k.Name, strings.ToLower(k.Name), k.Doc)
	}
	for _, k := range Kinds {
		fmt.Fprintf(&b, "\n## %s\n\n%s Its name is `%s`; short for the kind are `%s` and `%s`.\n", k.Name, k.Doc, strings.Join(k.Path, "/"), k.Plural, k.Short)
		if example := k.Example(); example != "" {
			fmt.Fprintf(&b, "\n```yaml\n%s```\n", example)
		}
		spec, status := k.Fields()[0], k.Fields()[1]
		b.WriteString("\n| spec | type | allowed | default | meaning |\n|---|---|---|---|---|\n")
		specRows(&b, "", spec)
		b.WriteString("\n| status | type | meaning |\n|---|---|---|\n")
		statusRows(&b, "", status)
	}
	return b.String()
}

const referenceHead = `# Fields

Printed from the kinds in ` + "`model`" + `; a test holds the two together. ` + "`overlane explain KIND.FIELD`" + ` prints the same.

A file of intent holds objects of these kinds, each with a *spec*: what is wanted. Overlane adds a
*status*: what was measured. An update replaces the whole spec: a field that the update leaves out
takes its default again, or keeps its value where the default says so.

`

func specRows(b *strings.Builder, prefix string, of Field) {
	for _, f := range of.Fields {
		doc := f.Doc
		if f.By != "" {
			doc += " Written by " + f.By + "."
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", prefix+f.Name, f.typeAndUnit(), f.Allowed, f.Absent(), doc)
		specRows(b, prefix+f.Name+".", f)
	}
}

func statusRows(b *strings.Builder, prefix string, of Field) {
	for _, f := range of.Fields {
		doc := f.Doc
		if f.Allowed != "" {
			doc += " One of " + f.Allowed + "."
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", prefix+f.Name, f.typeAndUnit(), doc)
		statusRows(b, prefix+f.Name+".", f)
	}
}

func (f Field) typeAndUnit() string {
	if f.Unit == "" {
		return f.Type
	}
	return f.Type + ", in " + f.Unit
}

// exampleNames are what examples call an object, by the part of its kind's path.
var exampleNames = map[string]string{
	"HOST": "host1", "VPC": "blue", "SUBNET": "web", "ENDPOINT": "web1", "POOL": "world", "PUBLICIP": "web1", "FORWARD": "https",
}

// Example is a file of intent with one object of the kind, in which every field that users write has a value. It is
// empty for a kind of which users write none.
func (k Kind) Example() string {
	if k.Derived {
		return ""
	}
	var names []string
	for _, part := range k.Path {
		names = append(names, exampleNames[part])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "kind: %s\nname: %s\nspec:\n", k.Name, strings.Join(names, "/"))
	exampleOf(&b, "  ", k.Fields()[0])
	return b.String()
}

// ExampleYAML is the field with its example value, and with the fields inside it; empty if users do not write it.
func (f Field) ExampleYAML() string {
	var b strings.Builder
	exampleOf(&b, "", Field{Fields: []Field{f}})
	return b.String()
}

func exampleOf(b *strings.Builder, indent string, of Field) {
	for _, f := range of.Fields {
		var inner strings.Builder
		exampleOf(&inner, indent+"  ", f)
		switch {
		case f.Example != "":
			fmt.Fprintf(b, "%s%s: %s\n", indent, f.Name, f.Example)
		case inner.Len() > 0:
			fmt.Fprintf(b, "%s%s:\n%s", indent, f.Name, inner.String())
		}
	}
}
