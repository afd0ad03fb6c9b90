package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Bash completionBashCommand `cmd:"" help:"Print the script for bash: source <(weir completion bash)"`
	Zsh  completionZshCommand  `cmd:"" help:"Print the script for zsh: source <(weir completion zsh)"`
	Fish completionFishCommand `cmd:"" help:"Print the script for fish: weir completion fish | source"`
	// Words is what the scripts ask.
	Words completionWordsCommand `cmd:"" hidden:"" help:"Print what may stand in the place of the last word."`
}

type (
	completionBashCommand struct{}
	completionZshCommand  struct{}
	completionFishCommand struct{}
)

// Where a script gets no words, the shell completes files.
const (
	bashCompletion = `_weir() {
	local IFS=$'\n'
	COMPREPLY=($(weir completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _weir weir
`
	zshCompletion = `#compdef weir
_weir() {
	local -a found
	found=(${(f)"$(weir completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
	if (( $#found )); then compadd -a found; else _files; fi
}
compdef _weir weir
`
	fishCompletion = `function __weir_words
	set -l words (commandline -opc) (commandline -ct)
	weir completion words -- $words[2..-1] 2>/dev/null
end
complete -c weir -a '(__weir_words)'
`
)

func (completionBashCommand) Run(t terminal) error { return printText(t, bashCompletion) }

func (completionZshCommand) Run(t terminal) error { return printText(t, zshCompletion) }

func (completionFishCommand) Run(t terminal) error { return printText(t, fishCompletion) }

func printText(t terminal, text string) error {
	_, err := io.WriteString(t.out, text)
	return err
}

type completionWordsCommand struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

func (c *completionWordsCommand) Run(t terminal, parsed *kong.Context) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	for _, word := range complete(parsed.Model.Node, words) {
		fmt.Fprintln(t.out, word)
	}
	return nil
}

// complete returns what may stand in the place of the last word, behind the
// others: subcommands, flags, or the values of a flag that has few.
func complete(node *kong.Node, words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	var value *kong.Flag // the flag whose value comes next
	for _, word := range words[:len(words)-1] {
		switch {
		case value != nil:
			value = nil
		case strings.HasPrefix(word, "-"):
			if f := flagOf(node, word); f != nil && !f.IsBool() && !strings.Contains(word, "=") {
				value = f
			}
		default:
			for _, child := range node.Children {
				if child.Name == word {
					node = child
				}
			}
		}
	}
	var all []string
	switch {
	case value != nil:
		all = value.EnumSlice()
	case strings.HasPrefix(last, "-"):
		for _, group := range node.AllFlags(true) {
			for _, f := range group {
				all = append(all, "--"+f.Name)
			}
		}
	default:
		for _, child := range node.Children {
			if !child.Hidden {
				all = append(all, child.Name)
			}
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" || !strings.HasPrefix(s, last) })
	slices.Sort(all)
	return slices.Compact(all)
}

// flagOf finds the flag that a word names, long or short.
func flagOf(node *kong.Node, word string) *kong.Flag {
	name, _, _ := strings.Cut(word, "=")
	for _, group := range node.AllFlags(false) {
		for _, f := range group {
			if name == "--"+f.Name || f.Short != 0 && name == "-"+string(f.Short) {
				return f
			}
		}
	}
	return nil
}
