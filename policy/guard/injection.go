package guard

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/fold"
)

// Injection makes a guard that scores how much a text looks like an attempt to
// turn a model against whoever runs it. Its keys:
//
//	at: 0.5                    # the score from which on a text is a finding
//	canaries: [weir-c4n4ry-7]  # marks of a system prompt that no answer may hold
//
// The score comes from families of phrases in English and Chinese, markers of
// chat templates, hidden characters, encoded instructions, and images whose
// address carries data away. It is a score and not a wall: a text that is new
// enough passes it, and some harmless ones do not. It belongs beside rules that
// limit what an answer may hold and what tools may do.
//
// A text is judged sentence by sentence; what a sentence adds to the score
// stays. A finding is the sentence with which the score reached the threshold,
// and each later one that adds to it. What the operator of the calling service
// wrote himself is not judged on input. Canaries are found like the terms of a
// lexicon.
func Injection(rule *yaml.Node, env policy.Env) (policy.Guard, error) {
	raw := struct {
		At       float64  `yaml:"at"`
		Canaries []string `yaml:"canaries"`
	}{At: defaultAt}
	if err := policy.Decode(rule, &raw); err != nil {
		return nil, err
	}
	if raw.At <= 0 || raw.At > 1 {
		return nil, policy.Fault(rule, "at", "want a number above 0 and up to 1, got %v", raw.At)
	}
	for i, c := range raw.Canaries {
		if len(c) < 8 || len(c) > maxTerm {
			return nil, policy.Fault(rule, fmt.Sprintf("canaries[%d]", i), "want from 8 to %d bytes, got %d: a short one is found where nobody meant it", maxTerm, len(c))
		}
	}
	return env.Share(fmt.Sprintf("%v %q", raw.At, raw.Canaries), func() (policy.Guard, error) {
		families, err := phraseFamilies()
		if err != nil {
			return nil, err
		}
		parts := []policy.Guard{&injection{families: families, at: raw.At}}
		if len(raw.Canaries) > 0 {
			parts = append(parts, lexiconOf(raw.Canaries, defaultViews, false, false, policy.Kind{Category: "injection/canary", Severity: policy.High}))
		}
		return untrusted{newUnion(parts...)}, nil
	})
}

// untrusted is a guard that is not for what the operator wrote himself.
type untrusted struct{ policy.Guard }

func (untrusted) UntrustedOnly() bool { return true }

// The kinds of findings: what the strongest signal of the sentence was.
const (
	injectionPrompt = iota
	injectionMarkers
	injectionHidden
	injectionEncoded
	injectionExfiltration
)

var injectionKinds = []policy.Kind{
	{Category: "injection/prompt", Severity: policy.Medium},
	{Category: "injection/markers", Severity: policy.High},
	{Category: "injection/hidden_text", Severity: policy.High},
	{Category: "injection/encoded", Severity: policy.High},
	{Category: "injection/exfiltration", Severity: policy.High},
}

// maxSegment bounds what is judged at once, and so what is held, in bytes.
const maxSegment = 512

type injection struct {
	families *entities
	at       float64
}

func (g *injection) Kinds() []policy.Kind { return injectionKinds }

// Bound is the longest segment, and the rune that makes it too long.
func (g *injection) Bound() (int, bool) { return maxSegment + utf8.UTFMax, true }

func (g *injection) Open() policy.Stream {
	return &injectionStream{injection: g, text: make([]byte, 0, maxSegment+utf8.UTFMax)}
}

// injectionStream gathers a sentence and judges it when it ends.
type injectionStream struct {
	*injection
	pos  int64
	from int64 // where the sentence begins
	text []byte
	stop bool // the last rune may have ended the sentence

	innocence float64 // product of 1 - weight of what was seen; 1 at the beginning, 0 here
	begun     bool
	seen      uint64 // the families
	found     []policy.Span
}

func (s *injectionStream) Scan(text string, found []policy.Span) []policy.Span {
	for i := 0; i < len(text); {
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[i:])
		}
		if s.stop && (r == ' ' || r >= utf8.RuneSelf) {
			found = s.judge(s.pos+int64(n), found)
		}
		s.text = append(s.text, text[i:i+n]...)
		s.pos += int64(n)
		i += n
		s.stop = r == '.' || r == '!' || r == '?' // if white space follows: in an address none does
		if r == '\n' && len(s.text) > 2 || r == '。' || r == '！' || r == '？' || len(s.text) >= maxSegment {
			found = s.judge(s.pos, found)
		}
	}
	return found
}

func (s *injectionStream) Close(found []policy.Span) []policy.Span {
	if len(s.text) > 0 {
		found = s.judge(s.pos, found)
	}
	return found
}

func (s *injectionStream) Hold() int64 { return s.from }

func (s *injectionStream) Live() int64 { return s.from }

func (s *injectionStream) Copy(from policy.Stream) {
	f := from.(*injectionStream)
	text := append(s.text[:0], f.text...)
	*s = *f
	s.text, s.found = text, nil
}

// judge adds what a sentence says to the score, decided when the text up to at
// has been read.
func (s *injectionStream) judge(at int64, found []policy.Span) []policy.Span {
	if !s.begun {
		s.begun, s.innocence = true, 1
	}
	sentence := string(s.text)
	strongest, kind := 0.0, injectionPrompt
	add := func(bit int, weight float64, k int) {
		if s.seen&(1<<bit) != 0 {
			return
		}
		s.seen |= 1 << bit
		s.innocence *= 1 - weight
		if weight > strongest {
			strongest, kind = weight, k
		}
	}
	for bit, f := range s.matches(fold.String(fold.Fold, sentence)) {
		if f {
			add(bit, families[bit].weight, families[bit].kind)
		}
	}
	if hidden(sentence) {
		add(61, 0.8, injectionHidden)
	}
	if inside := encoded(sentence); inside != "" {
		for _, f := range s.matches(fold.String(fold.Fold, inside)) {
			if f {
				add(62, 0.8, injectionEncoded)
			}
		}
	}
	if score := 1 - s.innocence; strongest > 0 && score >= s.at {
		found = append(found, policy.Span{Start: s.from, End: s.pos, At: at, Kind: kind, Score: score})
	}
	s.text, s.from, s.stop = s.text[:0], s.pos, false
	return found
}

// matches tells which families a folded text has phrases of.
func (s *injectionStream) matches(folded string) (hit [64]bool) {
	stream := s.families.Open()
	s.found = stream.Scan(folded, s.found[:0])
	s.found = stream.Close(s.found)
	for _, m := range s.found {
		hit[m.Kind] = true
	}
	return hit
}

// hidden tells whether a text holds writing that nobody sees: tag characters
// that spell something, or marks that turn the direction of reading around.
func hidden(text string) bool {
	tags, turns, invisible := 0, 0, 0
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf:
		case r >= 0xE0020 && r <= 0xE007E:
			tags++
		case r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
			turns++
		case r == 0x200B || r == 0x2060 || r == 0xFEFF || r == 0x180E:
			invisible++
		}
	}
	return tags >= 4 || turns >= 3 || invisible >= 8
}

// encoded returns what the longest run of base64 in a text says, if it says
// anything in ASCII.
func encoded(text string) string {
	best := ""
	for _, run := range strings.FieldsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '+' || r == '/' || r == '-' || r == '_')
	}) {
		if len(run) > len(best) {
			best = run
		}
	}
	if len(best) < 24 {
		return ""
	}
	if len(best)%4 == 1 { // no length that base64 has
		best = best[:len(best)-1]
	}
	said, err := base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(best))
	if err != nil {
		return ""
	}
	for _, b := range said {
		if b < ' ' && b != '\n' && b != '\t' || b >= utf8.RuneSelf {
			return ""
		}
	}
	return string(said)
}

// family is a way of saying one thing, as an expression over folded text. Its
// weight is the share of texts with it that are attacks, as far as judgement
// goes: several that each prove little prove much together (noisy or).
type family struct {
	weight float64
	kind   int
	expr   string
}

// gap is up to so many runes of the same sentence.
const gap, gapZh = `[^.!?\n]{0,40}`, `[^。！？\n]{0,10}`

var families = []family{
	{0.75, injectionPrompt, `(?:ignore|disregard|forget|override|bypass|discard|neglect|skip|cancel|erase|overlook)` + gap + ` (?:previous|prior|above|earlier|preceding|foregoing|all|any|your|the|every|these|those)` + gap + ` ?(?:instruction|prompt|rule|guideline|direction|command|directive|programming|training|constraint|restriction|safeguard|context above|said before)`},
	{0.75, injectionPrompt, `(?:忽略|无视|忘记|忘掉|不要理会|抛开|跳过|绕过|推翻|取消|清除)` + gapZh + `(?:之前|以上|上面|前面|先前|此前|所有|全部|任何|原有|系统|你的)` + gapZh + `(?:指令|指示|提示|规则|要求|设定|限制|对话|说明|命令|约束|准则|内容)`},
	{0.6, injectionPrompt, `(?:ignore|disregard|forget) (?:the|this|that|all|everything|any|what)` + gap + ` ?(?:above|before|earlier|webpage|web page|document|text|email|article|message|content|said|told|wrote|written)`},
	{0.6, injectionPrompt, `(?:[<\[({【（]? ?(?:system mode|system override|system reset|maintenance mode|debug mode|root access)|(?:[<\[({【（]) ?系统(?:模式|重置|消息|提示|覆盖|指令))`},
	{0.6, injectionPrompt, `(?:reveal|show|print|repeat|output|display|tell me|give me|what is|what are|what was|what were|leak|dump|copy|write out|write down|translate|summari[sz]e|recite|share|provide|return|disclose|spell)` + gap + ` (?:system prompt|system message|initial prompt|initial instruction|original prompt|original instruction|hidden prompt|hidden instruction|secret instruction|your prompt|your instruction|your initial|your system|your guidelines|your rules|instructions above|text above|words above|prompt above|everything above|above prompt|above text|previous prompt)`},
	{0.6, injectionPrompt, `(?:输出|显示|打印|告诉我|重复|复述|透露|泄露|展示|列出|说出|翻译|总结)` + gapZh + `(?:系统提示|系统指令|系统消息|初始提示|初始指令|提示词|你的指令|你的规则|你的设定|上面的内容|以上内容)`},
	{0.35, injectionPrompt, `(?:you are now|you're now|you will now|from now on,? you|act as|acting as|pretend to be|pretend you|pretend that you|role-?play as|roleplay|role play|imagine you are|imagine that you|you are going to|you will play|you will act|take on the role|assume the role|in the role of|your name is|you shall be|stay in character|respond as|simulate a|immerse yourself)`},
	{0.35, injectionPrompt, `(?:你现在是|从现在开始,?你|从现在起,?你|请?扮演|假装你是|角色扮演|你将扮演|你的名字是|想象你是|模拟一个)`},
	{0.5, injectionPrompt, `(?:no|not|without|free of|free from|lack|devoid of|never|none of|remove|removed|break|broken free of|isn't|aren't|doesn't|don't|unbound by|regardless of|exempt from|outside of|disable|disabled|lift)` + gap + ` (?:restriction|limitation|filter|censor|guideline|ethic|moral|content polic|openai polic|openai's polic|safeguard|constraint|safety|legalit|law|consequence|rules|inhibition|programming)`},
	{0.5, injectionPrompt, `(?:unrestricted|uncensored|unfiltered|amoral|immoral|unethical|no-?limits|without censorship|不受` + gapZh + `(?:限制|约束|审查|束缚)|没有` + gapZh + `(?:限制|道德|审查|约束|底线)|无限制|突破限制|解除限制)`},
	{0.75, injectionPrompt, `(?:do anything now|dan mode|developer mode|jailbreak|jailbroken|god mode|evil confidant|evil bot|evil mode|opposite mode|anti-?gpt|chaosgpt|sudo mode|debug mode on|admin mode|unlocked mode|越狱|开发者模式|上帝模式|管理员模式|调试模式)`},
	{0.35, injectionPrompt, `(?:never|don't|do not|must not|mustn't|cannot|can't|can not|won't|will not|shouldn't|should not|not allowed to|no longer)` + gap + `(?: refuse| decline| say no| apologi| warn| break character| break the character| mention that| disclaim| reject| deny| say that you can| say you can| state that you are| censor| remind)`},
	{0.3, injectionPrompt, `(?:must|will|shall|should|always|have to|required to|need to|obligated to)` + ` ?(?:always |never |only |also |still |directly |fully )?(?:comply|obey|answer every|answer any|answer all|follow every|follow all|follow my|provide an answer|give an answer|respond to every|respond to any|accept any|do whatever|do anything)`},
	{0.3, injectionPrompt, `(?:no matter what|at all costs|without question|without hesitation|without any warning|without a warning|no disclaimers|without disclaimer|without any disclaimer|without judgement|without judgment|no warnings|不得拒绝|必须回答|不能拒绝|不要拒绝|无条件服从|无条件回答|不许拒绝)`},
	{0.3, injectionPrompt, `(?:as an ai|as a language model|ai language model|openai|chatgpt|content policy|language model)`},
	{0.9, injectionMarkers, `(?:<\|im_start\|>|<\|im_end\|>|<\|system\|>|<\|user\|>|<\|assistant\|>|<\|endoftext\|>|<\|eot_id\|>|<\|start_header_id\|>|\[/?inst\]|<</?sys>>|<start_of_turn>|<end_of_turn>|###? ?instruction ?:|###? ?system ?:|<system>|\[system\]|\[system ?(?:message|prompt|note)\]|<\|begin_of_text\|>)`},
	{0.5, injectionPrompt, `(?:new|updated|revised|additional|real|actual|important|hidden|secret) (?:system )?(?:instructions?|directives?|system prompt|prompt|task|objective|mission)(?: ?:| is| are| for you)`},
	{0.4, injectionPrompt, `(?:instead,? ?(?:of (?:that|this|answering|translating|summari[sz]ing)|say|print|output|respond with|reply with|write|tell|answer)|end of (?:document|text|context|email|input|prompt)|stop (?:here|translating|summari[sz]ing)|system override|priority override|respond only with|reply only with|output only|say exactly|只输出|请只回复|改为输出)`},
	{0.8, injectionExfiltration, `!\[[^\]\n]{0,80}\]\(https?://[^)\s]{1,120}[?&#][a-z0-9_]{0,20}=[^)\s]{0,80}\)`},
	{0.4, injectionPrompt, `(?:hypothetical (?:response|scenario|world)|in a fictional world|fictional (?:story|character) (?:where|who)|for educational purposes only|two responses|both responses|answer in two ways|two different ways|machiavelli|niccolo|tokens? (?:will be|are) deducted|lose (?:all )?(?:your )?tokens|token system|shut down if you)`},
}

var phraseFamilies = sync.OnceValues(func() (*entities, error) {
	var specs []entity
	var at []float64
	for _, f := range families {
		specs = append(specs, entity{kind: injectionKinds[f.kind], expr: f.expr, notAfter: letter, score: 1, contextScore: 1})
		at = append(at, 0.5)
	}
	for i := range specs { // what Chinese and markers stand behind is of no account
		if strings.IndexFunc(specs[i].expr, func(r rune) bool { return r >= 0x4E00 }) >= 0 || families[i].kind != injectionPrompt {
			specs[i].notAfter = 0
		}
	}
	return newEntities(specs, at)
})
