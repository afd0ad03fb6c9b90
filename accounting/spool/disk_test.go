package spool

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// disk is a disk that can lose power and can fail: the real one, with a memory
// of what has been synced.
type disk struct {
	dir  string
	boot string

	mu      sync.Mutex
	synced  map[string][]byte // content of files at their last fsync
	named   map[string]bool   // names at the last fsync of the folder
	removed map[string][]byte // files deleted since then

	// before is called before each system call that changes something; its
	// error fails the call.
	before func(call string, f *os.File) error
}

func newDisk(dir string) *disk {
	return &disk{dir: dir, boot: "boot-1", synced: map[string][]byte{}, named: map[string]bool{}, removed: map[string][]byte{}}
}

func (d *disk) call(name string, f *os.File) error {
	if d.before == nil {
		return nil
	}
	return d.before(name, f)
}

func (d *disk) system() *system {
	return &system{
		writeAt: func(f *os.File, b []byte, at int64) (int, error) {
			half := len(b) / 2
			if n, err := f.WriteAt(b[:half], at); err != nil {
				return n, err
			}
			if err := d.call("write", f); err != nil {
				return half, err
			}
			n, err := f.WriteAt(b[half:], at+int64(half))
			return half + n, err
		},
		sync: func(f *os.File) error {
			if err := d.call("sync", f); err != nil {
				return err
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if f.Name() == d.dir {
				d.named, d.removed = map[string]bool{}, map[string][]byte{}
				for _, name := range list(d.dir) {
					d.named[name] = true
				}
				return nil
			}
			b, err := os.ReadFile(f.Name())
			if err == nil {
				d.synced[filepath.Base(f.Name())] = b
			}
			return nil
		},
		allocate: func(f *os.File, size int64) error {
			if err := d.call("allocate", f); err != nil {
				return err
			}
			return f.Truncate(size)
		},
		remove: func(path string) error {
			if err := d.call("remove", nil); err != nil {
				return err
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			d.removed[filepath.Base(path)], _ = os.ReadFile(path)
			return os.Remove(path)
		},
		rename: func(from, to string) error {
			if err := d.call("rename", nil); err != nil {
				return err
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			b, _ := os.ReadFile(from)
			d.removed[filepath.Base(from)] = b
			d.synced[filepath.Base(to)] = b
			return os.Rename(from, to)
		},
		bootID: func() string { return d.boot },
	}
}

func list(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		panic(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func files(t testing.TB, dir, suffix string) []string {
	t.Helper()
	var paths []string
	for _, name := range list(dir) {
		if strings.HasSuffix(name, suffix) {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths
}

// kill copies what a process leaves that is killed now: all that it has
// written.
func (d *disk) kill(to string) {
	for _, name := range list(d.dir) {
		b, err := os.ReadFile(filepath.Join(d.dir, name))
		if err != nil {
			panic(err)
		}
		keep(to, name, b)
	}
}

// powerCut copies what the disk has when the power fails now: what is synced,
// and of the rest what chance says, by sectors of 64 bytes.
func (d *disk) powerCut(to string, chance func() bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, b := range d.removed {
		if d.named[name] && chance() {
			keep(to, name, b)
		}
	}
	for _, name := range list(d.dir) {
		if !d.named[name] && chance() {
			continue
		}
		now, err := os.ReadFile(filepath.Join(d.dir, name))
		if err != nil {
			panic(err)
		}
		safe := d.synced[name]
		if len(safe) != len(now) && chance() {
			now = append(now, make([]byte, max(0, len(safe)-len(now)))...)[:len(safe)] // nor was its size
		}
		safe = append(append([]byte(nil), safe...), make([]byte, len(now))...)
		for at := 0; at < len(now); at += 64 {
			end := min(at+64, len(now))
			if string(now[at:end]) != string(safe[at:end]) && chance() {
				copy(now[at:end], safe[at:end])
			}
		}
		keep(to, name, now)
	}
}

func keep(dir, name string, b []byte) {
	// Some file systems sync what is written over.
	_ = os.Remove(filepath.Join(dir, name))
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		panic(err)
	}
}
