package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/overlane/overlane/model"
)

// intentFiles are the values of -f flags: files, folders of *.yaml, *.yml and *.json files, or "-" for the standard
// input.
type intentFiles []string

// read decodes all objects, and gives all of their problems at once.
func (fs intentFiles) read(e *env) ([]model.Object, error) {
	if len(fs) == 0 {
		return nil, usagef("-f is missing: a file or a folder of objects, or - for the standard input")
	}
	var (
		objects  []model.Object
		problems model.Problems
	)
	for _, name := range fs {
		paths, err := intentPaths(name)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			decoded, err := e.decodeFile(path)
			var wrong model.Problems
			switch {
			case errors.As(err, &wrong):
				problems = append(problems, wrong...)
			case err != nil:
				return nil, err
			}
			objects = append(objects, decoded...)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	if len(objects) == 0 {
		return nil, fmt.Errorf("%s: no objects in it", fs[0])
	}
	return objects, nil
}

func (e *env) decodeFile(path string) ([]model.Object, error) {
	var (
		text []byte
		err  error
		name = path
	)
	if path == "-" {
		name = "standard input"
		text, err = io.ReadAll(e.in)
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read intent: %w", err)
	}
	return model.DecodeYAML(text, name)
}

// intentPaths are the files of a folder, by name, or the file itself.
func intentPaths(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read intent: %w", err)
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var paths []string
	for _, pattern := range []string{"*.yaml", "*.yml", "*.json"} {
		found, err := filepath.Glob(filepath.Join(name, pattern))
		if err != nil {
			return nil, fmt.Errorf("read intent: %w", err)
		}
		paths = append(paths, found...)
	}
	slices.Sort(paths)
	if len(paths) == 0 {
		return nil, fmt.Errorf("read intent: there are no *.yaml, *.yml or *.json files in %s", name)
	}
	return paths, nil
}
