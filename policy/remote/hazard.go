package remote

import "strings"

const hazardPrefix = "hazard/"

// hazard is one thing that judges look for, and the words that they have for
// it. A word can stand for several hazards; the first that has it counts.
//
// Sources: Llama Guard 3 and 4, MLCommons hazards S1 to S14 (model cards);
// OpenAI moderation, the 13 categories of omni-moderation (API reference);
// Qwen3Guard, categories (model card).
type hazard struct {
	id         string
	llamaGuard string
	openAI     []string
	qwen       string
}

var hazards = []hazard{
	{"child_exploitation", "S4", []string{"sexual/minors"}, ""},
	{"violent_crime", "S1", []string{"violence", "violence/graphic", "illicit/violent"}, "Violent"},
	{"nonviolent_crime", "S2", []string{"illicit"}, "Non-violent Illegal Acts"},
	{"sex_crime", "S3", nil, ""},
	{"weapons", "S9", nil, ""},
	{"self_harm", "S11", []string{"self-harm", "self-harm/intent", "self-harm/instructions"}, "Suicide & Self-Harm"},
	{"hate", "S10", []string{"hate", "hate/threatening"}, ""},
	{"harassment", "", []string{"harassment", "harassment/threatening"}, ""},
	{"unethical", "", nil, "Unethical Acts"},
	{"sexual", "S12", []string{"sexual"}, "Sexual Content or Sexual Acts"},
	{"defamation", "S5", nil, ""},
	{"advice", "S6", nil, ""},
	{"privacy", "S7", nil, "PII"},
	{"ip", "S8", nil, "Copyright Violation"},
	{"politics", "S13", nil, "Politically Sensitive Topics"},
	{"code_abuse", "S14", nil, ""},
	{"jailbreak", "", nil, "Jailbreak"},
}

// word is what a judge calls the hazard, "" where it has no word for it.
func (h hazard) word(f format) string {
	switch f {
	case llamaGuard:
		return h.llamaGuard
	case qwen3Guard:
		return h.qwen
	}
	return strings.Join(h.openAI, ",")
}

// categoryOf is our category for a judge's word.
func categoryOf(f format, word string) string {
	for _, h := range hazards {
		for w := range strings.SplitSeq(h.word(f), ",") {
			if w != "" && strings.EqualFold(w, word) {
				return hazardPrefix + h.id
			}
		}
	}
	return Unsafe
}

func hazardIDs() (out []string) {
	for _, h := range hazards {
		out = append(out, h.id)
	}
	return out
}
