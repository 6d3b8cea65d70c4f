package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/overlane/overlane/internal/pattern"
)

// DecodeYAML reads objects from YAML (or JSON, which is YAML too): any number of documents, each an object or a list of
// objects. It is as strict as [Object.UnmarshalJSON], and refuses an object that comes twice. Aliases are refused: a
// few lines of them expand to gigabytes. file is for messages only.
//
// The error is [Problems], all of the file's, each with file and line in Where.
func DecodeYAML(data []byte, file string) ([]Object, error) {
	var (
		f       = yamlFile{name: file, first: map[Key]int{}}
		decoder = yaml.NewDecoder(bytes.NewReader(data))
	)
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			f.syntaxError(err)
			break
		}
		f.document(&document)
	}
	if len(f.problems) > 0 {
		return nil, f.problems
	}
	return f.objects, nil
}

// yamlFile is a file of intent as far as it is read.
type yamlFile struct {
	name     string
	objects  []Object
	first    map[Key]int // line of each object
	problems Problems
}

var yamlLine = pattern.Of(`line (\d+): `)

// syntaxError records a syntax error, after which nothing can be read.
func (f *yamlFile) syntaxError(err error) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if at := yamlLine().FindStringSubmatch(text); at != nil {
		line, _ = strconv.Atoi(at[1])
		text = strings.Replace(text, at[0], "", 1)
	}
	f.addProblem(line, Problem{Object: "file", Reason: "is not YAML: " + text, Remedy: "check indentation, quotes and colons there"})
}

func (f *yamlFile) addProblem(line int, p Problem) {
	if p.Where = f.name; line > 0 {
		p.Where = fmt.Sprintf("%s:%d", f.name, line)
	}
	f.problems = append(f.problems, p)
}

func (f *yamlFile) document(n *yaml.Node) {
	switch {
	case n.Kind == yaml.DocumentNode && len(n.Content) == 1:
		f.document(n.Content[0])
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			f.object(item)
		}
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null": // an empty document: between two ---, or comments only
	default:
		f.object(n)
	}
}

func (f *yamlFile) object(n *yaml.Node) {
	lines := yamlLines{}
	var out bytes.Buffer
	if odd := lines.toJSON(&out, n, ""); odd != nil {
		f.addProblem(odd.Line, unsupported(odd))
		return
	}
	o, problems := decodeObject(out.Bytes(), "object")
	for _, p := range problems {
		f.addProblem(lines.of(p.Field, n.Line), p)
	}
	if len(problems) > 0 {
		return
	}
	if first, again := f.first[o.Key()]; again {
		f.addProblem(n.Line, Problem{Object: o.Key().String(), Reason: fmt.Sprintf("is given twice, first in line %d", first), Remedy: "leave one out"})
		return
	}
	f.first[o.Key()] = n.Line
	f.objects = append(f.objects, o)
}

// yamlLines has the line of each field of an object, by its path: "spec.cidr".
type yamlLines map[string]int

// of is the line of a field, or of the nearest one around it.
func (l yamlLines) of(path string, object int) int {
	for path != "" {
		if line, ok := l[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return object
}

// toJSON writes a node as JSON, with a mapping's keys in their order, repeated ones included. It returns the first node
// that JSON cannot express.
func (l yamlLines) toJSON(out *bytes.Buffer, n *yaml.Node, path string) *yaml.Node {
	switch n.Kind {
	case yaml.ScalarNode:
		scalarToJSON(out, n)
		return nil
	case yaml.SequenceNode:
		return l.list(out, n, path)
	case yaml.MappingNode:
		return l.mapping(out, n, path)
	}
	return n
}

func (l yamlLines) list(out *bytes.Buffer, n *yaml.Node, path string) *yaml.Node {
	out.WriteByte('[')
	for i, item := range n.Content {
		if i > 0 {
			out.WriteByte(',')
		}
		if odd := l.toJSON(out, item, path); odd != nil {
			return odd
		}
	}
	out.WriteByte(']')
	return nil
}

func (l yamlLines) mapping(out *bytes.Buffer, n *yaml.Node, path string) *yaml.Node {
	if path != "" {
		path += "."
	}
	out.WriteByte('{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			return key
		}
		if i > 0 {
			out.WriteByte(',')
		}
		if _, again := l[path+key.Value]; !again {
			l[path+key.Value] = key.Line
		}
		quoted(out, key.Value)
		out.WriteByte(':')
		if odd := l.toJSON(out, value, path+key.Value); odd != nil {
			return odd
		}
	}
	out.WriteByte('}')
	return nil
}

// unsupported is the problem with a node that toJSON cannot write.
func unsupported(n *yaml.Node) Problem {
	p := Problem{Object: "object", Value: clip(n.Value), Reason: "has a field name that is not text", Remedy: "write a plain word there"}
	if n.Kind == yaml.AliasNode {
		p.Reason, p.Remedy = fmt.Sprintf("has an alias (*%s), which is not supported", clip(n.Value)), "write the value out"
	}
	return p
}

var jsonNumber = pattern.Of(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// scalarToJSON writes what YAML resolves the scalar to: null, true or false, a number, or else text.
func scalarToJSON(out *bytes.Buffer, n *yaml.Node) {
	switch tag := n.ShortTag(); {
	case tag == "!!null":
		out.WriteString("null")
	case tag == "!!bool" && (strings.EqualFold(n.Value, "true") || strings.EqualFold(n.Value, "false")):
		out.WriteString(strings.ToLower(n.Value))
	case (tag == "!!int" || tag == "!!float") && jsonNumber().MatchString(n.Value):
		out.WriteString(n.Value)
	case tag == "!!int" && integer(n.Value) != "":
		out.WriteString(integer(n.Value))
	default:
		quoted(out, n.Value)
	}
}

// integer is the decimal form of a whole number that YAML has in hex or octal, or with a sign; empty for any other
// text.
func integer(text string) string {
	i, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		return ""
	}
	return strconv.FormatInt(i, 10)
}

func quoted(out *bytes.Buffer, text string) {
	data, _ := json.Marshal(text) // a string cannot fail
	out.Write(data)
}

// EncodeYAML writes objects as documents that [DecodeYAML] reads, fields in the order of their structs.
func EncodeYAML(objects ...Object) ([]byte, error) {
	if len(objects) == 0 {
		return nil, nil
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	for _, o := range objects {
		data, err := json.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", o.Key(), err)
		}
		var document yaml.Node
		if err := yaml.Unmarshal(data, &document); err != nil {
			return nil, fmt.Errorf("encode %s: %w", o.Key(), err)
		}
		blockStyle(&document)
		if err := encoder.Encode(&document); err != nil {
			return nil, fmt.Errorf("encode %s: %w", o.Key(), err)
		}
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("encode YAML: %w", err)
	}
	return out.Bytes(), nil
}

// blockStyle turns JSON's brackets and quotes into lines and plain words.
func blockStyle(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		blockStyle(child)
	}
}
