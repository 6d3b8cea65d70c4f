package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Down ends the lab and leaves nothing of it: no process, namespace, mount, interface, cgroup or file. It may be called
// again, and for a lab that is half up.
func (l *Lab) Down(ctx context.Context) error {
	began := time.Now()
	if l.lock == nil {
		if err := l.relock(); errors.Is(err, os.ErrNotExist) {
			return l.removeDisk()
		} else if err != nil {
			return err
		}
		defer l.unlock()
	}
	if err := l.endAll(ctx); err != nil {
		return fmt.Errorf("lab %s: %w", l.File.Name, err)
	}
	if err := removeCgroups(ctx, cgroupOf(l.File.Name)); err != nil {
		return fmt.Errorf("lab %s: %w", l.File.Name, err)
	}
	if err := errors.Join(l.removeDisk(), os.RemoveAll(l.Dir)); err != nil {
		return fmt.Errorf("lab %s: %w", l.File.Name, err)
	}
	os.Remove(filepath.Dir(l.Dir)) // if it was the last lab
	l.done("", "down", began)
	return nil
}

// removeDisk removes what is not in the lab's folder: RemoveAll of an empty path does nothing.
func (l *Lab) removeDisk() error { return os.RemoveAll(l.record.Disk) }

// endAll ends every recorded space, also of a lab that another process left.
func (l *Lab) endAll(ctx context.Context) error {
	var all errgroup.Group
	for _, s := range l.spaces() {
		all.Go(func() error { return s.end(ctx) })
	}
	return all.Wait()
}

// spaces are all that have been recorded.
func (l *Lab) spaces() []*space {
	l.mu.Lock()
	defer l.mu.Unlock()
	ours := map[process]*space{}
	for _, m := range l.machines {
		ours[m.space.first] = m.space
	}
	for _, s := range l.networks {
		ours[s.first] = s
	}
	var all []*space
	firsts := slices.Collect(maps.Values(l.record.Networks))
	for _, h := range l.record.Hosts {
		firsts = append(firsts, h.First)
	}
	for _, first := range firsts {
		s := ours[first]
		if s == nil {
			s = &space{first: first}
		}
		all = append(all, s)
	}
	return all
}

// remove takes down what there is of a machine.
func (l *Lab) remove(ctx context.Context, name string) error {
	l.mu.Lock()
	m, r := l.machines[name], l.record.Hosts[name]
	delete(l.hosts, name)
	delete(l.machines, name)
	l.mu.Unlock()
	s := &space{}
	if m != nil {
		s = m.space
	} else if r != nil {
		s.first = r.First
	}
	if err := errors.Join(l.unplug(name), s.end(ctx)); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	if err := removeCgroups(ctx, cgroupOf(l.File.Name)+"/"+name); err != nil {
		return err
	}
	for _, dir := range []string{filepath.Join(l.Dir, "hosts", name), l.disk(name)} {
		if err := os.RemoveAll(dir); err != nil { // of an empty path it is nothing
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return l.note(func(r *record) { delete(r.Hosts, name) })
}

// removeCgroups removes a cgroup with those below it, from the one hierarchy of version 2 or from each of version 1.
func removeCgroups(ctx context.Context, name string) error {
	var dirs []string
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		roots, err := filepath.Glob(pattern + name)
		if err != nil {
			return err
		}
		for _, root := range roots {
			below, err := subfolders(root)
			if err != nil {
				return err
			}
			dirs = append(dirs, below...)
		}
	}
	slices.Reverse(dirs) // the deepest first
	for _, dir := range dirs {
		if err := removeCgroup(ctx, dir); err != nil {
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
	return nil
}

func subfolders(root string) (dirs []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	return dirs, err
}

// removeCgroup tries again while the kernel is still letting go of the processes.
func removeCgroup(ctx context.Context, dir string) error {
	for {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pollEvery):
		}
	}
}
