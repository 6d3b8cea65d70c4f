package server

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/store"
)

// document reads the document as a client gets it.
func openAPIOf(t *testing.T, a testServer) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(a.must(t, "GET", "/openapi.json", "").body, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestDocumentHasEveryRoute: the operations of the document are those that the server answers, no more and no less.
func TestDocumentHasEveryRoute(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	paths := openAPIOf(t, srv)["paths"].(map[string]any)
	var documented, served []string
	for path, operations := range paths {
		for method := range operations.(map[string]any) {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	for _, r := range srv.routes {
		served = append(served, r.Method+" "+r.Path)
	}
	slices.Sort(documented)
	slices.Sort(served)
	expect(t, strings.Join(documented, "\n"), strings.Join(served, "\n"))

	for _, operation := range documented {
		method, path, _ := strings.Cut(operation, " ")
		path = regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "x")
		if answer := srv.send(t, "nobody", method, path, ""); answer.status == 404 || answer.status == 405 {
			t.Errorf("%s is documented, but answered by %s", operation, told(answer))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		for _, method := range []string{"GET", "PUT", "POST", "DELETE", "PATCH"} {
			_, known := paths[path].(map[string]any)[strings.ToLower(method)]
			answer := srv.send(t, "nobody", method, regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "x"), "")
			if !known && answer.status != 405 {
				t.Errorf("%s %s is not documented, but answered by %s", method, path, told(answer))
			}
		}
	}
}

// TestDocumentIsSound: references lead somewhere, operation IDs are unique, everything is described.
func TestDocumentIsSound(t *testing.T) {
	doc := openAPIOf(t, newAPI(t, store.NewMemory(0)))
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	ids := map[any]bool{}
	walk(doc, "", func(at string, node map[string]any) {
		if ref, ok := node["$ref"].(string); ok {
			if _, ok := schemas[strings.TrimPrefix(ref, "#/components/schemas/")]; !ok {
				t.Errorf("%s: %s leads nowhere", at, ref)
			}
		}
		if id, ok := node["operationId"]; ok {
			if ids[id] || id == "" {
				t.Errorf("%s: operationId %q is not unique", at, id)
			}
			ids[id] = true
			if node["summary"] == "" {
				t.Errorf("%s: has no summary", at)
			}
		}
	})
	for _, k := range model.Kinds {
		object := schemas[k.Name].(map[string]any)["properties"].(map[string]any)
		for _, half := range []string{"spec", "status"} {
			if object[half] == nil {
				t.Errorf("%s has no %s", k.Name, half)
			}
		}
		fields := reflect.TypeOf(k.New()).Elem()
		spec := schemas[fields.Name()].(map[string]any)["properties"].(map[string]any)
		for name, field := range spec {
			if field.(map[string]any)["description"] == nil {
				t.Errorf("%s: spec.%s has no description: give it a doc tag", k.Name, name)
			}
		}
		if len(spec) != fields.NumField() {
			t.Errorf("%s: %d of %d fields are documented", k.Name, len(spec), fields.NumField())
		}
	}
}

func walk(value any, at string, visit func(string, map[string]any)) {
	switch v := value.(type) {
	case map[string]any:
		visit(at, v)
		for key, child := range v {
			walk(child, at+"/"+key, visit)
		}
	case []any:
		for i, child := range v {
			walk(child, fmt.Sprint(at, "/", i), visit)
		}
	}
}
