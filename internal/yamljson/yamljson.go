// Package yamljson reads and writes YAML of types whose fields have json tags. It is for configuration files: intent
// has a reader of its own in package model, which keeps the line of every field. Both stand on the same parser.
package yamljson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Unmarshal reads the first document of data into v, a pointer, over what v holds already. A key that no field has, or
// that comes twice in one mapping, is an error, which names the line. A plain scalar is text where the type wants text
// ("name: 123"), and the words of YAML 1.1 are truth values where the type wants one ("docker: yes").
func Unmarshal(data []byte, v any) error {
	var document yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&document); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return err
	}
	if err := adapt(&document, reflect.TypeOf(v)); err != nil {
		return err
	}
	var value any
	if err := document.Decode(&value); err != nil {
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	return strict.Decode(v)
}

// adapt gives scalars the tag of the type that they are for.
func adapt(n *yaml.Node, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case n.Kind == yaml.AliasNode:
		return adapt(n.Alias, t)
	case n.Kind == yaml.DocumentNode:
		return adaptAll(n.Content, t)
	case n.Kind == yaml.ScalarNode:
		adaptScalar(n, t)
	case n.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		return adaptAll(n.Content, t.Elem())
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Struct:
		return adaptFields(n, t)
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Map:
		for i := 1; i < len(n.Content); i += 2 {
			if err := adapt(n.Content[i], t.Elem()); err != nil {
				return err
			}
		}
	}
	return nil
}

func adaptAll(nodes []*yaml.Node, t reflect.Type) error {
	for _, n := range nodes {
		if err := adapt(n, t); err != nil {
			return err
		}
	}
	return nil
}

func adaptFields(n *yaml.Node, t reflect.Type) error {
	fields := reflect.VisibleFields(t)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Value == "<<" { // a merge (yaml.org/type/merge.html)
			if err := adapt(value, t); err != nil {
				return err
			}
			continue
		}
		at := slices.IndexFunc(fields, func(f reflect.StructField) bool { return strings.EqualFold(nameOf(f), key.Value) })
		if at < 0 {
			return fmt.Errorf("line %d: unknown field %q", key.Line, key.Value)
		}
		if err := adapt(value, fields[at].Type); err != nil {
			return err
		}
	}
	return nil
}

func nameOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" {
		return f.Name
	}
	return name
}

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

func adaptScalar(n *yaml.Node, t reflect.Type) {
	plain := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.TaggedStyle) == 0 && n.ShortTag() != "!!null"
	switch {
	case !plain:
	case t.Kind() == reflect.String || reflect.PointerTo(t).Implements(textType):
		n.Tag = "!!str"
	case t.Kind() == reflect.Bool && slices.Contains([]string{"y", "yes", "on"}, strings.ToLower(n.Value)):
		n.Tag, n.Value = "!!bool", "true"
	case t.Kind() == reflect.Bool && slices.Contains([]string{"n", "no", "off"}, strings.ToLower(n.Value)):
		n.Tag, n.Value = "!!bool", "false"
	}
}

// Marshal writes v as one document, the keys of each mapping in alphabetical order.
func Marshal(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent()
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}
