//go:build !unix

package storetest

import "syscall"

// lesserUser has nothing to do where there is no root.
func lesserUser(...string) (*syscall.SysProcAttr, error) { return nil, nil }
