//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockFolder takes the folder for this process, until the file is closed or
// the process ends, however it ends.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the spool's folder: %w", err)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) })
	if err = errors.Join(err, failed); err != nil {
		holder := "another process"
		if b, _ := io.ReadAll(f); len(strings.Fields(string(b))) > 0 {
			holder = "process " + strings.Fields(string(b))[0]
		}
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("spool %s is in use by %s: stop it, or give each process a folder of its own", dir, holder)
		}
		return nil, fmt.Errorf("lock spool %s: %w; it must be on a local file system", dir, err)
	}
	return f, nil
}
