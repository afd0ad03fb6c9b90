package credential

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

const (
	// lookEvery is how often a file is looked at, while there are calls.
	lookEvery = time.Second
	// maxKey is the most that a file or a command may say.
	maxKey = 64 << 10
)

// File is the key in a file, without the white space around it. The file is read
// again where it has changed, also where its name leads to another file now, and
// where the server has refused the key.
func File(path string, now func() time.Time) Key {
	s := &source{lock: make(chan struct{}, 1), now: now}
	var read os.FileInfo // of what was read last
	s.due = func() bool {
		if s.now().Sub(s.fetched) < lookEvery {
			return false
		}
		s.fetched = s.now()
		is, err := os.Stat(path)
		return err == nil && (read == nil || !os.SameFile(is, read) || !is.ModTime().Equal(read.ModTime()) || is.Size() != read.Size())
	}
	s.fetch = func(context.Context) (string, error) {
		f, err := os.Open(path)
		if err != nil {
			return "", bare(err)
		}
		defer f.Close()
		if read, err = f.Stat(); err != nil {
			return "", bare(err)
		}
		text, err := io.ReadAll(io.LimitReader(f, maxKey))
		return strings.TrimSpace(string(text)), bare(err)
	}
	return named(s.get, "key_file %s", path)
}

// bare is an error without the path, which is named once.
func bare(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
