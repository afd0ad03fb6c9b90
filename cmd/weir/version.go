package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by a release build; others tell what Go knows of them.
var version = ""

type versionCommand struct {
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

func versionName() string {
	v := version
	if info, ok := debug.ReadBuildInfo(); v == "" && ok {
		v = info.Main.Version
	}
	if v == "" || v == "(devel)" {
		v = "development build"
	}
	return v
}

func (c versionCommand) Run(t terminal) error {
	v := versionName()
	if c.Output == "json" {
		return printJSON(t.out, struct {
			Version string `json:"version"`
			Go      string `json:"go"`
			OS      string `json:"os"`
			Arch    string `json:"arch"`
		}{v, runtime.Version(), runtime.GOOS, runtime.GOARCH})
	}
	fmt.Fprintf(t.out, "weir %s (%s, %s/%s)\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
