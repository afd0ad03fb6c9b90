//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package spool

import (
	"errors"
	"fmt"
	"os"
)

func lockFolder(dir string) (*os.File, error) {
	return nil, fmt.Errorf("spool %s: this system has no lock that ends with its process: %w", dir, errors.ErrUnsupported)
}
