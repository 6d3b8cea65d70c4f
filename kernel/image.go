package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// image is a kernel that can be booted.
type image struct {
	vmlinuz string
	modules string // folder lib/modules/VERSION
	initrd  string
}

const flavour = "linux-image-cloud-amd64"

// neededModules bring the guest from the initramfs to its root, and out of it: PCI, the console ports, and the file systems.
var neededModules = []string{"virtio_pci", "virtio_console", "virtiofs", "overlay"}

// prepare gets Debian's kernel package the first time, without installing it, and packs an initramfs of this program and a few modules.
func prepare(scratch string) (image, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return image{}, err
	}
	cache = filepath.Join(cache, "overlane", flavour)
	versions, _ := filepath.Glob(filepath.Join(cache, "lib/modules/*/modules.dep.bin")) // written last
	if len(versions) == 0 {
		if err := download(cache); err != nil {
			return image{}, fmt.Errorf("get %s: %w", flavour, err)
		}
		versions, _ = filepath.Glob(filepath.Join(cache, "lib/modules/*/modules.dep.bin"))
	}
	if len(versions) != 1 {
		return image{}, fmt.Errorf("%s holds %d kernels, not one; remove it, to get it anew", cache, len(versions))
	}
	modules := filepath.Dir(versions[0])
	i := image{
		vmlinuz: filepath.Join(cache, "boot", "vmlinuz-"+filepath.Base(modules)),
		modules: modules,
		initrd:  filepath.Join(scratch, "initramfs"),
	}
	return i, i.pack(cache)
}

// download leaves the package's files in the cache, complete or not at all.
func download(cache string) error {
	release, err := output("apt-cache", "depends", flavour)
	if err != nil {
		return err
	}
	var name string
	for line := range strings.Lines(release) {
		if _, after, ok := strings.Cut(line, "Depends: "); ok && strings.HasPrefix(after, "linux-image-") {
			name = strings.TrimSpace(after)
			break
		}
	}
	if name == "" {
		return errors.New("apt-cache knows of no kernel; is this Debian, and did apt-get update run?")
	}
	if err := os.MkdirAll(filepath.Dir(cache), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(cache), "download")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	script := `cd "$1" && apt-get download -q "$2" && dpkg-deb -x "$2"_*.deb files && depmod -b files "${2#linux-image-}"`
	if _, err := output("sh", "-c", script, "sh", work, name); err != nil {
		return err
	}
	if err := os.RemoveAll(cache); err != nil {
		return err
	}
	return os.Rename(filepath.Join(work, "files"), cache)
}

func (i image) pack(cache string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := static(self); err != nil {
		return err
	}
	needed, err := i.needed(cache)
	if err != nil {
		return err
	}
	files := []file{{"init", self, 0o755}}
	for n, path := range needed {
		files = append(files, file{fmt.Sprintf("modules/%02d-%s", n, filepath.Base(path)), path, 0o644})
	}
	out, err := os.Create(i.initrd)
	if err != nil {
		return err
	}
	if err := writeCPIO(out, files); err != nil {
		out.Close()
		return fmt.Errorf("pack initramfs: %w", err)
	}
	return out.Close()
}

// needed are the files of neededModules and of what they need, in the order in which they can be inserted.
func (i image) needed(cache string) (paths []string, err error) {
	for _, name := range neededModules {
		// Lines are "insmod PATH", a module's needs before it.
		lines, err := output("modprobe", "--show-depends", "--dirname", cache, "--set-version", filepath.Base(i.modules), name)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(lines) {
			path, ok := strings.CutPrefix(strings.TrimSpace(line), "insmod ")
			if ok && !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths, nil
}

// static refuses to be the guest's first process if there would be no dynamic linker for it.
func static(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("this program must be static: build it with CGO_ENABLED=0")
		}
	}
	return nil
}

func output(argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(problems.String()))
	}
	return string(out), nil
}
