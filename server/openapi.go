package server

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/overlane/overlane/internal/pattern"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
)

// object is a JSON object of the OpenAPI document (OpenAPI 3.1, https://spec.openapis.org/oas/v3.1.0).
type object = map[string]any

func (s *Server) openAPI(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, s.Document())
}

// Document describes the API: all routes, and all types of their bodies and answers, by Go types and doc tags.
func (s *Server) Document() map[string]any {
	d := document{schemas: object{}}
	paths := object{}
	for _, route := range s.routes {
		path, ok := paths[route.Path].(object)
		if !ok {
			path = object{}
			paths[route.Path] = path
		}
		path[strings.ToLower(route.Method)] = d.operation(route)
	}
	return object{
		"openapi": "3.1.0",
		"info": object{"title": "Overlane", "version": s.config.Version, "license": object{"name": "Apache 2.0",
			"identifier": "Apache-2.0"},
			"description": "Virtual private clouds on Open vSwitch. By the unix socket everything is allowed; by " +
				"TLS, a host's certificate allows what is the host's own."},
		"servers":    []object{{"url": "/"}},
		"paths":      paths,
		"components": object{"schemas": d.schemas},
	}
}

// document collects the schemas of the types that it refers to.
type document struct{ schemas object }

func (d document) operation(r Route) object {
	op := object{"operationId": r.ID, "summary": r.Doc, "responses": d.responses(r)}
	if params := parameters(r); len(params) > 0 {
		op["parameters"] = params
	}
	if r.Body != nil {
		op["requestBody"] = object{"required": true, "content": content("application/json", d.of(r.Body))}
	}
	return op
}

func (d document) responses(r Route) object {
	answer := object{"description": "What was asked for."}
	switch {
	case r.Text:
		answer["content"] = content("text/plain", object{"type": "string"})
	case r.Stream:
		answer["description"] = "One JSON value a line, until either end closes."
		answer["content"] = content("application/x-ndjson", d.of(r.Answer))
	case r.Answer != nil:
		answer["content"] = content("application/json", d.of(r.Answer))
	}
	all := object{
		"200":     answer,
		"default": object{"description": "A refusal.", "content": content("application/json", d.of(api.Refusal{}))},
	}
	if r.Created {
		all["201"] = answer
	}
	return all
}

func content(media string, schema object) object { return object{media: object{"schema": schema}} }

var pathParam = pattern.Of(`\{(\w+)\}`)

func parameters(r Route) []object {
	var params []object
	for _, name := range pathParam().FindAllStringSubmatch(r.Path, -1) {
		params = append(params, object{"name": name[1], "in": "path", "required": true,
			"schema": object{"type": "string"}})
	}
	for _, p := range r.Query {
		schema := object{"type": "string"}
		if p.Type != "" {
			schema["type"] = p.Type
		}
		params = append(params, object{"name": p.Name, "in": "query", "description": p.Doc, "schema": schema})
	}
	return params
}

// of returns the schema of a body.
func (d document) of(value any) object {
	switch v := value.(type) {
	case objectOf:
		return d.object(v.kind)
	case listOf:
		return object{"type": "object", "required": []string{"revision", "items"}, "properties": object{
			"revision": object{"type": "integer",
				"description": "Store revision of the list; watch after it to see what changes."},
			"items": object{"type": "array", "items": d.object(v.kind)},
		}}
	}
	return d.schema(reflect.TypeOf(value))
}

// object returns the schema of the objects of one kind.
func (d document) object(k model.Kind) object {
	if _, ok := d.schemas[k.Name]; !ok {
		d.schemas[k.Name] = object{
			"type": "object", "description": k.Doc, "required": []string{"kind", "name", "spec"},
			"properties": object{
				"kind": object{"type": "string", "const": k.Name},
				"name": object{"type": "string", "description": "Like " + strings.Join(k.Path, "/") + "."},
				"revision": object{"type": "integer",
					"description": "Store revision of the last change; in a request, not zero: only if the object " +
						"is still at it."},
				"spec":   d.schema(reflect.TypeOf(k.New())),
				"status": d.schema(reflect.TypeOf(k.NewStatus())),
			},
		}
	}
	return reference(k.Name)
}

func reference(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// known are the types whose JSON does not follow from their structure.
var known = map[reflect.Type]object{
	reflect.TypeFor[netip.Addr]():        {"type": "string", "format": "ipv4", "examples": []string{"10.0.0.2"}},
	reflect.TypeFor[netip.Prefix]():      {"type": "string", "examples": []string{"10.0.0.0/24"}},
	reflect.TypeFor[model.MAC]():         {"type": "string", "pattern": "^([0-9a-f]{2}:){5}[0-9a-f]{2}$"},
	reflect.TypeFor[time.Time]():         {"type": "string", "format": "date-time"},
	reflect.TypeFor[api.Duration]():      {"type": "string", "examples": []string{"1h30m"}},
	reflect.TypeFor[json.RawMessage]():   {},
	reflect.TypeFor[model.StaticRoute](): {"type": "string", "examples": []string{"10.9.0.0/16 via 10.0.0.7"}},
	reflect.TypeFor[model.Spec]():        {"type": "object"},
	reflect.TypeFor[any]():               {},
}

func (d document) schema(t reflect.Type) object {
	if schema, ok := known[t]; ok {
		return schema
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return d.structure(t)
	}
	return object{"type": "integer"} // all numbers of the API are integers
}

// structure returns a reference to the schema of a named struct. model.Object is an object of any kind.
func (d document) structure(t reflect.Type) object {
	name := t.Name()
	switch t {
	case reflect.TypeFor[model.Object](), reflect.TypeFor[api.Object]():
		return d.anyObject()
	}
	if _, ok := d.schemas[name]; !ok {
		d.schemas[name] = nil // in progress: the type may refer to itself
		properties, required := object{}, []string{}
		d.fields(t, properties, &required)
		schema := object{"type": "object", "properties": properties}
		if len(required) > 0 {
			schema["required"] = required
		}
		d.schemas[name] = schema
	}
	return reference(name)
}

func (d document) anyObject() object {
	kinds := make([]object, len(model.Kinds))
	for i, k := range model.Kinds {
		kinds[i] = d.object(k)
	}
	d.schemas["Object"] = object{"oneOf": kinds, "discriminator": object{"propertyName": "kind"}}
	return reference("Object")
}

func (d document) fields(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			d.fields(f.Type, properties, required)
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		properties[name] = described(d.schema(f.Type), model.Described(f.Tag))
		if options == "" {
			*required = append(*required, name)
		}
	}
}

// described returns a schema with the doc of its field. OpenAPI 3.1 allows a description beside a $ref.
func described(schema object, doc string) object {
	if doc == "" {
		return schema
	}
	with := object{"description": doc}
	for key, value := range schema {
		with[key] = value
	}
	return with
}
