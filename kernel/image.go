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

// flavours are the metapackages of kernels for virtual machines: Debian's, then Ubuntu's. The first that apt knows is
// taken.
var flavours = []string{"linux-image-cloud-amd64", "linux-image-virtual"}

// neededModules bring the guest from the initramfs to its root, and out of it: PCI, the console ports, and the file
// systems.
var neededModules = []string{"virtio_pci", "virtio_console", "virtiofs", "overlay"}

// prepare gets the distribution's kernel the first time, without installing it, and packs an initramfs of this program
// and a few modules.
func prepare(scratch string) (image, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return image{}, err
	}
	cache = filepath.Join(cache, "overlane", "kernel")
	versions, _ := filepath.Glob(filepath.Join(cache, "lib/modules/*/modules.dep.bin")) // written last
	if len(versions) == 0 {
		if err := download(cache); err != nil {
			return image{}, fmt.Errorf("get a kernel: %w", err)
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

// download leaves the package's files in the cache, complete or not at all. Ubuntu has modules in packages of their
// own.
func download(cache string) error {
	name, err := kernelPackage()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(cache), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(cache), "download")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	const script = `cd "$1"
		apt-get download -q "linux-image-$2"
		for more in "linux-modules-$2" "linux-modules-extra-$2"; do apt-get download -q "$more" || true; done
		for deb in ./*.deb; do dpkg-deb -x "$deb" files; done
		depmod -b files "$2"`
	if _, err := output("sh", "-ec", script, "sh", work, strings.TrimPrefix(name, "linux-image-")); err != nil {
		return err
	}
	if err := os.RemoveAll(cache); err != nil {
		return err
	}
	return os.Rename(filepath.Join(work, "files"), cache)
}

// kernelPackage is the package that a metapackage stands for today.
func kernelPackage() (string, error) {
	for _, flavour := range flavours {
		depends, err := output("apt-cache", "depends", flavour)
		if err != nil {
			continue // another distribution's
		}
		for line := range strings.Lines(depends) {
			if _, name, ok := strings.Cut(line, "Depends: "); ok && strings.HasPrefix(name, "linux-image-") {
				return strings.TrimSpace(name), nil
			}
		}
	}
	return "", fmt.Errorf("apt-cache knows none of %s; did apt-get update run?", strings.Join(flavours, ", "))
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
		path, err := plain(path, filepath.Dir(i.initrd))
		if err != nil {
			return err
		}
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

// plain unpacks a module that is compressed.
func plain(path, scratch string) (string, error) {
	tool, ok := map[string]string{".xz": "xz", ".zst": "zstd"}[filepath.Ext(path)]
	if !ok {
		return path, nil
	}
	content, err := output(tool, "-dqc", path)
	if err != nil {
		return "", err
	}
	unpacked := filepath.Join(scratch, strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)))
	return unpacked, os.WriteFile(unpacked, []byte(content), 0o600)
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
