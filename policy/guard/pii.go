package guard

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

// PII makes a guard that finds personal data of kinds that have a form:
// numbers with check digits, addresses of e-mail, telephone numbers. Its keys:
//
//	entities: [email, credit_card]   # all that are on by default where absent
//	at: {phone: 0.8}                 # how sure a finding must be, 0.5 where absent
//
// A finding's category is pii/ENTITY. An entity with a check digit is sure by
// itself; one that other numbers look like needs a word such as "passport" or
// 护照 in the 64 bytes before it. Names and postal addresses have no form that
// could be found so, and are not found.
//
// By default it looks for all but url, date_of_birth and coordinates, which
// ordinary answers are full of (links, lives, maps): a rule that wants them
// names them.
func PII(rule *yaml.Node, env policy.Env) (policy.Guard, error) {
	var raw struct {
		Entities []string           `yaml:"entities"`
		At       map[string]float64 `yaml:"at"`
	}
	if err := policy.Decode(rule, &raw); err != nil {
		return nil, err
	}
	known := slices.Sorted(maps.Keys(piiEntities))
	if raw.Entities == nil {
		for _, name := range known {
			if !piiEntities[name].optional {
				raw.Entities = append(raw.Entities, name)
			}
		}
	}
	if len(raw.Entities) == 0 {
		return nil, policy.Fault(rule, "entities", "names none: leave it out for the usual ones, or name some of %s", strings.Join(known, ", "))
	}
	for i, name := range raw.Entities {
		if _, ok := piiEntities[name]; !ok {
			return nil, policy.Fault(rule, fmt.Sprintf("entities[%d]", i), "unknown entity %q (known: %s)", name, strings.Join(known, ", "))
		}
	}
	for name, at := range raw.At {
		if !slices.Contains(raw.Entities, name) {
			return nil, policy.Fault(rule, "at."+name, "the rule does not look for %q: name it under entities", name)
		}
		if at <= 0 || at > 1 {
			return nil, policy.Fault(rule, "at."+name, "want a number above 0 and up to 1, got %v", at)
		}
	}
	slices.Sort(raw.Entities)
	names := slices.Compact(raw.Entities)
	return env.Share(fmt.Sprint(names, raw.At), func() (policy.Guard, error) {
		var parts []policy.Guard
		var specs []entity
		var thresholds []float64
		for _, name := range names {
			kind := policy.Kind{Category: "pii/" + name, Severity: piiEntities[name].severity}
			if form := piiEntities[name].run; form.expr != "" {
				p := &pattern{category: kind.Category, severity: kind.Severity}
				if err := p.compile(form.expr, form.limit); err != nil {
					return nil, err
				}
				parts = append(parts, p)
			}
			at, set := raw.At[name]
			if !set {
				at = defaultAt
			}
			for _, form := range piiEntities[name].forms {
				form.kind = kind
				if form.contextScore == 0 {
					form.contextScore = form.score
				}
				specs = append(specs, form)
				thresholds = append(thresholds, at)
			}
		}
		if len(specs) > 0 {
			e, err := newEntities(specs, thresholds)
			if err != nil {
				return nil, err
			}
			parts = append(parts, e)
		}
		return newUnion(parts...), nil
	})
}

// defaultAt is how sure a finding must be where a rule says nothing.
const defaultAt = 0.5

// piiEntity is a kind of personal data and the forms it is written in.
type piiEntity struct {
	severity policy.Severity
	optional bool // found only where a rule names it
	forms    []entity
	run      runForm
}

// runForm is a form without a longest match: one that goes on past limit bytes
// is found to its end.
type runForm struct {
	expr  string
	limit int
}

// The scores say what a look-alike costs: sure forms have check digits or a
// shape that nothing else has; plain ones need their context.
const (
	certain = 0.99 // a date besides the check digit
	sure    = 0.95
	likely  = 0.7
	unclear = 0.3
)

const (
	besideNumber = digit | letter | underline
	besideCode   = digit | letter | underline | sign
)

// plateForm is a plate behind its province.
const plateForm = ` ?[A-HJ-NP-Z](?: ?[·•・.\- ] ?)?[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳使领][A-HJ-NP-Z0-9]?)`

// versionedThings have numbers with dots, as addresses of IP are.
var versionedThings = []string{"chrome/", "firefox/", "safari/", "edg/", "opr/", "version", "versions", "ver", "v", "release", "build", "firmware", "driver", "section", "chapter", "clause", "版本", "版", "固件", "章节", "第", "oid"}

// piiEntities are all entities by name. Where a number's form is somebody's
// standard, it is named; regional forms are as their issuers publish them.
var piiEntities = map[string]piiEntity{
	"email": {severity: policy.Medium, run: runForm{emailExpr, emailLimit}},
	// Up to a rune that no punctuation of the sentence around it is.
	"url": {severity: policy.Low, optional: true, run: runForm{
		`(?i:(?:https?|ftp)://|\bwww\.)[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*[A-Za-z0-9_~/#=&%+-]`, 2048,
	}},
	"phone": {severity: policy.Medium, forms: phoneForms},
	// Payment cards: ISO/IEC 7812, check digit by Luhn.
	"credit_card": {severity: policy.High, forms: []entity{
		{expr: `\d(?:[ .-]?\d){11,18}`, notAfter: besideNumber | decimal, notBefore: besideNumber, valid: isCard, score: sure},
		{expr: `\d(?:[ .-]?\d){11,18}`, notAfter: besideNumber | decimal, notBefore: besideNumber, valid: isAnyCard, score: unclear, contextScore: sure,
			context: []string{"card", "cards", "credit", "debit", "visa", "mastercard", "amex", "信用卡"}},
	}},
	"cn_bank_card": {severity: policy.High, forms: []entity{
		{expr: `[69]\d{3}(?:[ .-]?\d){12,15}`, notAfter: besideNumber | decimal, notBefore: besideNumber, valid: isChineseBankCard, score: sure},
	}},
	// ISO 13616.
	"iban": {severity: policy.High, forms: []entity{
		{expr: `[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?`, notAfter: besideNumber, notBefore: besideNumber, valid: isIBAN, score: sure},
	}},
	"ip_address": {severity: policy.Low, forms: []entity{
		{expr: `\d{1,3}(?:\.\d{1,3}){3}`, notAfter: besideNumber | decimal, notBefore: besideNumber, valid: isIPv4, score: sure, unless: versionedThings},
		{expr: `[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:\.\d{1,3}){0,3}`, notAfter: besideNumber, notBefore: besideNumber, valid: isIPv6, score: sure},
	}},
	"mac_address": {severity: policy.Low, forms: []entity{
		{expr: `[0-9A-Fa-f]{2}(?:(?::[0-9A-Fa-f]{2}){5}|(?:-[0-9A-Fa-f]{2}){5})`, notAfter: besideNumber | dash, notBefore: besideNumber | dash, score: sure},
	}},
	"us_ssn": {severity: policy.High, forms: []entity{
		{expr: `\d{3}-\d{2}-\d{4}`, notAfter: besideNumber | dash, notBefore: besideNumber | dash, valid: isSSN, score: likely, contextScore: sure, context: ssnContext, unless: numberedThings},
		{expr: `\d{3}[ .]\d{2}[ .]\d{4}|\d{9}`, notAfter: besideNumber | dash, notBefore: besideNumber | dash, valid: isSSN, score: unclear, contextScore: sure, context: ssnContext},
	}},
	// GB 11643-1999: region, date of birth, sequence, check character.
	"cn_resident_id": {severity: policy.High, forms: []entity{
		{expr: `\d{6}[ -]?(?:\d{8}|\d{4}[ -]\d{4})[ -]?\d{3}[\dXx]`, notAfter: digit | decimal, notBefore: besideNumber, valid: isResidentID, score: certain},
		{expr: `\d{15}`, notAfter: besideNumber | decimal, notBefore: besideNumber, valid: isOldResidentID, score: likely, contextScore: sure, context: []string{"身份证", "证件", "居民", "identity", "resident"}, unless: numberedThings},
	}},
	// GB 32100-2015.
	"cn_uscc": {severity: policy.Medium, forms: []entity{
		{expr: `[0-9A-HJ-NPQRTUWXY]{2}\d{6}[0-9A-HJ-NPQRTUWXYa-hj-npqrtuwxy]{10}`, notAfter: besideNumber, notBefore: besideNumber, valid: isUSCC, score: sure},
	}},
	"cn_mobile": {severity: policy.Medium, forms: []entity{
		{expr: `(?:(?:\+|00)?86[ -]?)?1[3-9]\d[ .-]?\d{4}[ .-]?\d{4}`, notAfter: besideNumber | decimal, notBefore: besideNumber, valid: isMobile, score: sure, unless: numberedThings},
	}},
	"cn_landline": {severity: policy.Medium, forms: []entity{
		{expr: `\(?0\d{2,3}\)?[ -]?[2-9]\d{6,7}(?:[ -]?(?:转|-)\d{1,5})?`, notAfter: besideNumber | dot | decimal | dash, notBefore: besideNumber, score: unclear, contextScore: sure, context: []string{"电话", "座机", "热线", "tel", "phone", "传真", "fax"}},
		{expr: `(?:0\d{2,3}-|[(（]0\d{2,3}[)）] ?)[2-9]\d{2,3}[ -]?\d{4}`, notAfter: besideNumber | dot | decimal | dash, notBefore: besideNumber | dash, score: likely},
	}},
	"cn_passport": {severity: policy.High, forms: []entity{
		{expr: `(?:[Ee](?:\d|[A-HJ-NP-Za-hj-np-z])\d{7}|[DdSsPpGg]\d{8}|[DdSsPp][Ee]\d{7})`, notAfter: besideNumber, notBefore: besideNumber, score: unclear, contextScore: sure, context: []string{"护照", "passport", "passports", "证件", "出入境", "签证", "travel document"}},
	}},
	"cn_hk_macau_permit": {severity: policy.High, forms: []entity{
		{expr: `[CcWwHhMm]\d{8}(?:\d{2})?`, notAfter: besideNumber, notBefore: besideNumber, score: unclear, contextScore: sure, context: []string{"通行证", "港澳", "回乡证", "permit"}},
	}},
	"cn_taiwan_permit": {severity: policy.High, forms: []entity{
		{expr: `[LlTt]\d{8}|\d{8}`, notAfter: besideNumber, notBefore: besideNumber, score: unclear, contextScore: sure, context: []string{"台胞证", "台湾居民来往大陆通行证", "大陆居民往来台湾通行证"}},
	}},
	"cn_officer_id": {severity: policy.High, forms: []entity{
		{expr: `[军士文武海空北沈兰济南广成]字第?\d{4,8}号?`, notBefore: digit, score: sure},
	}},
	// GA 36: registration plates; new-energy vehicles have one character more.
	"cn_plate": {severity: policy.Medium, forms: []entity{
		{expr: `(?i:[京津沪渝冀豫辽黑湘皖鲁苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼]` + plateForm, notBefore: besideNumber, valid: isPlate, score: likely},
		// 新 is also "new" and 云 "cloud", which stand before the names of products.
		{expr: `(?i:[新云]` + plateForm, notBefore: besideNumber, valid: isPlateOfDigits, score: likely},
		{expr: `(?i:[新云]` + plateForm, notBefore: besideNumber, valid: isPlate, score: unclear, contextScore: likely, context: []string{"车", "牌照", "号牌", "plate", "licence", "license", "vehicle", "car"}},
	}},
	"hk_id": {severity: policy.High, forms: []entity{
		{expr: `[A-Z]{1,2}\d{6}\([0-9A]\)`, notAfter: besideNumber, valid: isHongKongID, score: sure},
	}},
	"uk_nino": {severity: policy.High, forms: []entity{
		{expr: `[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?: ?\d{2}){3} ?[A-D]`, notAfter: besideNumber, notBefore: besideNumber, valid: isNINO, score: likely},
	}},
	"in_aadhaar": {severity: policy.High, forms: []entity{
		{expr: `[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}`, notAfter: besideNumber | dash, notBefore: besideNumber | dash, valid: isAadhaar, score: unclear, contextScore: sure, context: []string{"aadhaar", "aadhar", "uid", "आधार"}},
	}},
	"in_pan": {severity: policy.High, forms: []entity{
		{expr: `[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]`, notAfter: besideNumber, notBefore: besideNumber, score: likely},
	}},
	"br_cpf": {severity: policy.High, forms: []entity{
		{expr: `\d{3}\.\d{3}\.\d{3}-\d{2}`, notAfter: besideNumber | dot | decimal, notBefore: besideNumber, valid: isCPF, score: sure},
		{expr: `\d{11}`, notAfter: besideNumber | dot | decimal, notBefore: besideNumber, valid: isCPF, score: unclear, contextScore: sure, context: []string{"cpf"}},
	}},
	"fr_nir": {severity: policy.High, forms: []entity{
		{expr: `[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}`, notAfter: besideNumber, notBefore: besideNumber, valid: isNIR, score: sure},
	}},
	"es_nif": {severity: policy.High, forms: []entity{
		{expr: `(?:\d{8}|[XYZ]\d{7})-?[A-Z]`, notAfter: besideNumber, notBefore: besideNumber, valid: isNIF, score: likely},
	}},
	"it_fiscal_code": {severity: policy.High, forms: []entity{
		{expr: `[A-Z]{6}\d{2}[ABCDEHLMPRST]\d{2}[A-Z]\d{3}[A-Z]`, notAfter: besideNumber, notBefore: besideNumber, valid: isFiscalCode, score: sure},
	}},
	"de_tax_id": {severity: policy.High, forms: []entity{
		{expr: `[1-9]\d (?:\d{3} ){2}\d{3}|[1-9]\d{10}`, notAfter: besideNumber, notBefore: besideNumber, valid: isGermanTaxID, score: unclear, contextScore: sure, context: []string{"steuer", "idnr", "tax id", "tin"}},
	}},
	"date_of_birth": {severity: policy.Medium, optional: true, forms: []entity{
		{expr: `\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?|\d{1,2}[-/. ]\d{1,2}[-/. ]\d{4}|\d{8}`, notAfter: besideNumber | dash, notBefore: besideNumber, valid: isBirthDate, score: unclear, contextScore: sure, context: birthContext},
		{expr: `(?i:\d{1,2}(?:st|nd|rd|th)? (?:of )?` + months + `,? \d{4}|` + months + ` \d{1,2}(?:st|nd|rd|th)?,? \d{4})`, notAfter: besideNumber | dash, notBefore: besideNumber, valid: isBirthDate, score: unclear, contextScore: sure, context: birthContext},
	}},
	// Degrees as maps write them (ISO 6709 in decimals); without a word that says
	// so two numbers are two numbers, unless they name the hemispheres.
	"coordinates": {severity: policy.Medium, optional: true, forms: []entity{
		{expr: `-?\d{1,2}\.\d{4,8}(?:,|, | )-?\d{1,3}\.\d{4,8}`, notAfter: besideNumber | dot | decimal | sign, notBefore: besideNumber, valid: isCoordinates, score: unclear, contextScore: sure,
			context: []string{"coordinates", "coordinate", "coords", "gps", "latitude", "longitude", "lat", "location", "located at", "position", "坐标", "经纬度", "纬度", "经度", "位置", "定位"}},
		{expr: `\d{1,2}\.\d{2,8}° ?[NS],? ?\d{1,3}\.\d{2,8}° ?[EW]`, notAfter: besideNumber | dot | decimal, notBefore: besideNumber, valid: isCoordinates, score: sure},
	}},
	"btc_address": {severity: policy.Medium, forms: []entity{
		{expr: `[13][1-9A-HJ-NP-Za-km-z]{25,34}`, notAfter: besideCode, notBefore: besideCode, valid: isBase58Check, score: sure},
		{expr: `bc1[02-9ac-hj-np-z]{11,71}`, notAfter: besideCode, notBefore: besideCode, valid: isBech32, score: sure},
	}},
	"eth_address": {severity: policy.Medium, forms: []entity{
		{expr: `0x[0-9a-fA-F]{40}`, notAfter: besideCode, notBefore: besideCode, valid: isEthereum, score: likely},
	}},
}

const months = `(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t|tember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?`

var birthContext = []string{"born", "dob", "d.o.b", "birth", "birthday", "birthdate", "出生", "生日", "生于", "诞辰"}

var ssnContext = []string{"ssn", "social security", "soc sec", "social sec"}
