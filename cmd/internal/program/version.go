package program

import "runtime/debug"

// release is the last version in CHANGELOG.md.
const release = "0.1.0"

// version is set by the linker for a release: -X github.com/overlane/overlane/cmd/internal/program.version=1.2.3.
var version = ""

// Version is the release or, of any other build, the last release and the commit that the program was built from: as
// build metadata of semantic versions, which does not sort before the release.
func Version() string {
	if version != "" {
		return version
	}
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return release + "+devel"
	}
	revision, dirty := "devel", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = ".dirty"
		}
	}
	return release + "+" + revision + dirty
}
