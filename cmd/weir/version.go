package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by a release build; others tell what Go knows of them.
var version = ""

type versionCommand struct{}

func (versionCommand) Run(t terminal) error {
	v := version
	if info, ok := debug.ReadBuildInfo(); v == "" && ok {
		v = info.Main.Version
	}
	if v == "" || v == "(devel)" {
		v = "development build"
	}
	fmt.Fprintf(t.out, "weir %s (%s, %s/%s)\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
