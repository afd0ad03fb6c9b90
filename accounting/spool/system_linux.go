package spool

import (
	"errors"
	"os"
	"strings"
	"syscall"
)

// bootID names this run of the machine's kernel. A container sees its host's,
// which is right: the page cache is the host's.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	text := strings.TrimSpace(string(id))
	return text[:min(len(text), maxBootID)]
}

// allocate gives the file its disk, so that writing into it needs no more.
func allocate(f *os.File, size int64) error {
	err := control(f, func(fd int) error { return syscall.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return fillWithZeros(f, size)
	}
	return err
}

// syncFile syncs what was written and not when, which saves a journal's entry.
func syncFile(f *os.File) error { return control(f, syscall.Fdatasync) }

func control(f *os.File, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for {
			if failed = call(int(fd)); failed != syscall.EINTR {
				return
			}
		}
	})
	return errors.Join(err, failed)
}
