//go:build unix

package sqlite

import (
	"errors"
	"os"
	"syscall"

	"github.com/weir-gateway/weir/server/store"
)

// lock takes a file for this process, which the kernel gives back whatever
// becomes of the process. The file stays: removing it would race.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, store.ErrInUse
		}
		return nil, err
	}
	return f.Close, nil
}
