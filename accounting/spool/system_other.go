//go:build !linux

package spool

import "os"

// bootID is unknown here, so that every start counts as one after a power cut:
// the ledger then forfeits what it might have given back.
func bootID() string { return "" }

func allocate(f *os.File, size int64) error { return fillWithZeros(f, size) }

func syncFile(f *os.File) error { return f.Sync() }
