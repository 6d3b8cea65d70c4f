package main

import "github.com/overlane/overlane/model"

// palette writes colour where it is true, and plain text where it is not.
type palette bool

func (p palette) paint(code, text string) string {
	if !p || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p palette) bold(text string) string   { return p.paint("1", text) }
func (p palette) dim(text string) string    { return p.paint("2", text) }
func (p palette) red(text string) string    { return p.paint("31", text) }
func (p palette) green(text string) string  { return p.paint("32", text) }
func (p palette) yellow(text string) string { return p.paint("33", text) }
func (p palette) cyan(text string) string   { return p.paint("36", text) }

// state colours the words for states, and no others.
func (p palette) state(word string) string {
	switch word {
	case "Ready", "Up", "yes", "valid":
		return p.green(word)
	case "Down", "no", "revoked":
		return p.red(word)
	case "Pending", "Attached", "Unknown", "expired", "used up":
		return p.yellow(word)
	}
	return word
}

// action colours a word by what it does to an object.
func (p palette) action(a model.Action, word string) string {
	switch a {
	case model.Create:
		return p.green(word)
	case model.Update:
		return p.yellow(word)
	case model.Delete:
		return p.red(word)
	}
	return p.dim(word)
}
