//go:build !unix

package sqlite

import "os"

// lock has nothing like flock to rely on here: it only proves that the folder
// can be written to. SQLite's own locks still keep two processes from harming
// the file; what is missing is the clear message.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}
