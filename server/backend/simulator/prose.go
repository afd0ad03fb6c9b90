package simulator

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A language is a small grammar: sentences with slots, and words for them.
//
//	{T}  a word of the prompt, in quotes or where any word is grammatical
//	{N}  a noun   {A}  an adjective   {V}  a verb   {P}  a place
//
// A slot of one letter is filled anew each time it stands.
type language struct {
	sentences []string
	// topical are the sentences with {T}; the first sentence of an answer is
	// one of them where the prompt has any word to take up.
	topical []string
	words   map[byte][]string
	between string
}

var english = language{
	between: " ",
	topical: []string{
		"A question about “{T}” is best begun with the {N}.",
		"As for “{T}”, the {A} {N} {V} the {N}.",
		"Whoever thinks of “{T}” soon meets a {N} {P}.",
		"With “{T}” in mind, look first at the {A} {N}.",
		"What is said of “{T}” holds for the {N} as well.",
		"There is more to “{T}” than the {A} {N} shows.",
	},
	sentences: []string{
		"The {A} {N} {V} the {N} {P}.",
		"A {N} {V} each {N} that it meets.",
		"No {N} {V} a {A} {N} for long.",
		"Where the {N} is {A}, the {N} {V} it.",
		"In the morning the {N} {V} the {A} {N}.",
		"Nobody sees how the {N} {V} a {N} {P}.",
		"It is the {A} {N} that {V} the {N}.",
		"First comes the {N}, and then the {A} {N}.",
	},
	words: map[byte][]string{
		'N': {"river", "bridge", "mill", "harbour", "lantern", "garden", "stone", "letter", "valley", "road", "clock", "sparrow", "meadow", "window", "wheel", "current", "boat", "map"},
		'A': {"quiet", "steady", "bright", "narrow", "broad", "patient", "clear", "small", "level", "gentle", "deep", "careful"},
		'V': {"carries", "follows", "measures", "holds", "turns", "answers", "crosses", "guards", "feeds", "remembers", "changes", "shapes"},
		'P': {"at the weir", "near the shore", "under the hill", "beside the water", "after the rain", "before nightfall", "beyond the gate", "in the old town"},
	},
}

var chinese = language{
	topical: []string{
		"关于{T}，可以先从{N}说起。",
		"说到{T}，{A}的{N}总会{V}{N}。",
		"想着{T}的人，常常在{P}看见{N}。",
		"谈{T}之前，不妨先看看{A}的{N}。",
		"{T}这件事，并不比{N}更难懂。",
	},
	sentences: []string{
		"{A}的{N}在{P}{V}{N}。",
		"每一个{N}都会{V}{A}的{N}。",
		"清晨的时候，{N}慢慢地{V}{N}。",
		"没有人知道{N}怎样{V}{P}的{N}。",
		"先有{N}，然后才有{A}的{N}。",
		"正是{A}的{N}{V}了{N}。",
	},
	words: map[byte][]string{
		'N': {"河流", "石桥", "水车", "灯火", "花园", "山谷", "小路", "书信", "窗户", "麻雀", "渡船", "地图"},
		'A': {"安静", "明亮", "宽阔", "细小", "清澈", "耐心", "古老", "平稳"},
		'V': {"照看", "跟随", "改变", "记住", "穿过", "守护", "衡量", "等待"},
		'P': {"堤坝旁", "岸边", "山脚下", "雨后", "城门外", "老街上"},
	},
}

// prose writes a few sentences on the words of the prompt, or as many as make
// the given number of tokens and cuts there.
func prose(c *chance, prompt string, tokens int) string {
	lang := &english
	if mainlyHan(prompt) {
		lang = &chinese
	}
	topics := topicsOf(prompt, lang)
	// An answer goes through its topics from a place of its own.
	next := 0
	if len(topics) > 0 {
		next = c.below(len(topics))
	}
	var b strings.Builder
	count := 2 + c.below(4)
	for i, have := 0, 0; ; i++ {
		if tokens == 0 && i == count || tokens > 0 && have >= tokens {
			break
		}
		forms := lang.sentences
		if len(topics) > 0 && (i == 0 || c.below(3) == 0) {
			forms = lang.topical
		}
		at := b.Len()
		if at > 0 {
			b.WriteString(lang.between)
		}
		form := forms[c.below(len(forms))]
		topic := ""
		if len(topics) > 0 {
			topic = topics[next%len(topics)]
		}
		before := b.Len()
		lang.fill(&b, c, form, topic)
		if b.Len() > before && strings.Contains(form, "{T}") {
			next++
		}
		have += countTokens(b.String()[at:])
	}
	if tokens == 0 {
		return b.String()
	}
	head, _, _ := firstTokens(b.String(), tokens)
	return head
}

func (l *language) fill(b *strings.Builder, c *chance, form, topic string) {
	last := ""
	for {
		text, slot, found := strings.Cut(form, "{")
		b.WriteString(text)
		if !found {
			return
		}
		if slot[0] == 'T' {
			b.WriteString(topic)
		} else {
			words := l.words[slot[0]]
			word := words[c.below(len(words))]
			if word == last { // "the river carries the river" reads like a fault
				word = words[(c.below(len(words)-1)+1+indexOf(words, last))%len(words)]
			}
			if slot[0] == 'N' {
				last = word
			}
			b.WriteString(word)
		}
		form = slot[2:]
	}
}

func indexOf(words []string, word string) int {
	for i, w := range words {
		if w == word {
			return i
		}
	}
	return 0
}

func mainlyHan(s string) bool {
	han, letters := 0, 0
	for _, r := range s {
		switch {
		case unicode.Is(unicode.Han, r):
			han++
		case unicode.IsLetter(r):
			letters++
		}
	}
	return han > 0 && han*3 >= letters // a Han rune says about as much as three letters
}

// englishPlain are words that are no topic.
const englishPlain = " about after also another answer because been before being between both could does doing each explain from give have having here into just like make many more most much must need only other over please same shall should show some such tell than that their them then there these they this those very want were what when where which while whom whose will with word words would write your "

// chinesePlain are runes between which the topics of a Chinese prompt stand.
const chinesePlain = "的了是在吗呢吧啊请问我你您他她它们这那什么怎样么如何为哪谁几多少和与及或把被给对从到向就都也还要想能会可以有没不一个些说写讲告诉介绍解释下关于用"

const maxTopics = 8

// topicsOf picks the words of a prompt that an answer can take up.
func topicsOf(prompt string, lang *language) []string {
	var topics []string
	seen := map[string]bool{}
	add := func(word string) {
		if len(topics) < maxTopics && !seen[word] {
			seen[word] = true
			topics = append(topics, word)
		}
	}
	if lang == &chinese {
		for _, run := range strings.FieldsFunc(prompt, func(r rune) bool {
			return !unicode.Is(unicode.Han, r) || strings.ContainsRune(chinesePlain, r)
		}) {
			if n := utf8.RuneCountInString(run); n >= 2 && n <= 6 {
				add(run)
			}
		}
		return topics
	}
	for _, word := range strings.FieldsFunc(prompt, func(r rune) bool { return !unicode.IsLetter(r) }) {
		if len(word) < 4 || len(word) > 24 || strings.Contains(englishPlain, " "+strings.ToLower(word)+" ") {
			continue
		}
		if first, size := utf8.DecodeRuneInString(word); unicode.IsUpper(first) && strings.ToLower(word[size:]) == word[size:] && strings.HasPrefix(prompt, word) {
			word = strings.ToLower(word) // the start of a sentence, not a name
		}
		add(word)
	}
	return topics
}
