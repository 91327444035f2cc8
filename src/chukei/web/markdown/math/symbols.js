/**
 * What the commands of TeX stand for: tables of names and characters, and the alphabets of Unicode.
 */

/** @param {string} pairs names and characters, in turns */
function table(pairs) {
  const words = pairs.trim().split(/\s+/);
  return new Map(words.flatMap((name, at) => (at % 2 === 0 ? [/** @type {const} */ ([name, words[at + 1]])] : [])));
}

/** Letters and signs that stand for themselves. */
export const IDENTIFIERS = table(`
  alpha α beta β gamma γ delta δ epsilon ϵ varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι kappa κ varkappa ϰ
  lambda λ mu μ nu ν xi ξ omicron ο pi π varpi ϖ rho ρ varrho ϱ sigma σ varsigma ς tau τ upsilon υ phi ϕ varphi φ
  chi χ psi ψ omega ω
  Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω
  infty ∞ partial ∂ nabla ∇ hbar ℏ hslash ℏ ell ℓ wp ℘ Re ℜ Im ℑ aleph ℵ beth ℶ gimel ℷ imath ı jmath ȷ
  emptyset ∅ varnothing ∅ top ⊤ bot ⊥ angle ∠ measuredangle ∡ triangle △ square □ Box □ blacksquare ■ qed ■
  diamond ⋄ Diamond ◇ lozenge ◊ bigstar ★ checkmark ✓ degree ° clubsuit ♣ diamondsuit ♢ heartsuit ♡ spadesuit ♠
  flat ♭ natural ♮ sharp ♯ eth ð mho ℧ complement ∁ Finv Ⅎ backslash \\ $ $ % % & & # # _ _ dag † ddag ‡ dagger †
  ddagger ‡ S § P ¶ copyright © pounds £ euro € yen ¥ AA Å dots … ldots … cdots ⋯ vdots ⋮ ddots ⋱ dotsc … dotsb ⋯
  dotsm ⋯ dotsi ⋯ dotso …
`);

/** Signs between or before what they join: MathML knows the space around each. */
export const OPERATORS = table(`
  pm ± mp ∓ times × div ÷ cdot ⋅ ast ∗ star ⋆ circ ∘ bullet ∙ oplus ⊕ ominus ⊖ otimes ⊗ oslash ⊘ odot ⊙ cap ∩ cup ∪
  uplus ⊎ sqcap ⊓ sqcup ⊔ vee ∨ lor ∨ wedge ∧ land ∧ setminus ∖ smallsetminus ∖ wr ≀ amalg ⨿ ltimes ⋉ rtimes ⋊
  bowtie ⋈ triangleleft ◃ triangleright ▹ neg ¬ lnot ¬ forall ∀ exists ∃ nexists ∄
  leq ≤ le ≤ leqslant ⩽ geq ≥ ge ≥ geqslant ⩾ neq ≠ ne ≠ equiv ≡ approx ≈ approxeq ≊ cong ≅ sim ∼ simeq ≃ asymp ≍
  doteq ≐ propto ∝ varpropto ∝ ll ≪ gg ≫ lll ⋘ ggg ⋙ prec ≺ succ ≻ preceq ⪯ succeq ⪰ lesssim ≲ gtrsim ≳ triangleq ≜
  coloneqq ≔ coloneq ≔ eqqcolon ≕ lt < gt > subset ⊂ supset ⊃ subseteq ⊆ supseteq ⊇ subsetneq ⊊ supsetneq ⊋
  sqsubseteq ⊑ sqsupseteq ⊒ in ∈ ni ∋ owns ∋ notin ∉ mid ∣ nmid ∤ parallel ∥ nparallel ∦ perp ⟂ vdash ⊢ dashv ⊣
  models ⊨ vDash ⊨ Vdash ⊩ nless ≮ ngtr ≯ nleq ≰ ngeq ≱ therefore ∴ because ∵
  to → rightarrow → longrightarrow ⟶ leftarrow ← gets ← longleftarrow ⟵ leftrightarrow ↔ longleftrightarrow ⟷
  Rightarrow ⇒ Longrightarrow ⟹ implies ⟹ Leftarrow ⇐ Longleftarrow ⟸ impliedby ⟸ Leftrightarrow ⇔
  Longleftrightarrow ⟺ iff ⟺ mapsto ↦ longmapsto ⟼ hookrightarrow ↪ hookleftarrow ↩ rightharpoonup ⇀
  rightharpoondown ⇁ leftharpoonup ↼ rightleftharpoons ⇌ leftrightharpoons ⇋ uparrow ↑ downarrow ↓ updownarrow ↕
  Uparrow ⇑ Downarrow ⇓ nearrow ↗ searrow ↘ swarrow ↙ nwarrow ↖ rightsquigarrow ⇝ leadsto ⇝ twoheadrightarrow ↠
  rightrightarrows ⇉ leftleftarrows ⇇ nrightarrow ↛ nleftarrow ↚ nRightarrow ⇏ upharpoonright ↾ restriction ↾
  colon : vert | lvert | rvert | Vert ‖ lVert ‖ rVert ‖ | ‖ langle ⟨ rangle ⟩ lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉
  { { } } lbrace { rbrace } lbrack [ rbrack ] lgroup ⟮ rgroup ⟯ ulcorner ⌜ urcorner ⌝ prime ′ backprime ‵ surd √
`);

/** Operators that grow in displayed formulas; the sums among them have their limits above and below. */
export const SUMS = table(`
  sum ∑ prod ∏ coprod ∐ bigcup ⋃ bigcap ⋂ bigvee ⋁ bigwedge ⋀ bigoplus ⨁ bigotimes ⨂ bigodot ⨀ biguplus ⨄ bigsqcup ⨆
`);
export const INTEGRALS = table("int ∫ iint ∬ iiint ∭ oint ∮ oiint ∯ smallint ∫");

/** Functions, written upright: those of the second list have their limits below. */
export const FUNCTIONS = new Set(
  ("sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan log ln lg exp deg dim hom ker arg sgn " +
    "tr rank").split(" "),
);
export const LIMITS = new Map([
  ...["lim", "max", "min", "sup", "inf", "det", "gcd", "Pr", "argmax", "argmin"].map((name) => /** @type {const} */ ([name, name])),
  ["limsup", "lim sup"],
  ["liminf", "lim inf"],
]);

export const ACCENTS = table(`
  hat ^ widehat ^ tilde ~ widetilde ~ bar ¯ vec → dot ˙ ddot ¨ dddot ⃛ acute ´ grave \` breve ˘ check ˇ mathring ˚
  overrightarrow → overleftarrow ← overleftrightarrow ↔ overbrace ⏞ overbracket ⎴ underbrace ⏟ underbracket ⎵ underrightarrow → underleftarrow ←
`);
/** Accents that become as wide as what they stand over. */
export const WIDE_ACCENT = /^(?:wide|over|under)/;

/** Arrows with text over and under them. */
export const LONG_ARROWS = table(`
  xrightarrow → xleftarrow ← xleftrightarrow ↔ xRightarrow ⇒ xLeftarrow ⇐ xLeftrightarrow ⇔ xmapsto ↦ xhookrightarrow ↪
  xrightleftharpoons ⇌ xlongequal =
`);

/** Widths in em. */
export const SPACES = new Map([
  [",", 0.167], ["thinspace", 0.167], [":", 0.222], [">", 0.222], ["medspace", 0.222], [";", 0.278], ["thickspace", 0.278],
  ["!", -0.167], ["negthinspace", -0.167], [" ", 0.25], ["\n", 0.25], ["enspace", 0.5], ["enskip", 0.5], ["quad", 1], ["qquad", 2],
]);

/** What `\not` makes of a sign. */
export const NEGATED = table("= ≠ < ≮ > ≯ ∈ ∉ ∋ ∌ ⊂ ⊄ ⊃ ⊅ ⊆ ⊈ ⊇ ⊉ ≤ ≰ ≥ ≱ ≡ ≢ ∼ ≁ ≈ ≉ ≅ ≇ ∣ ∤ ∥ ∦ ∃ ∄ → ↛ ← ↚ ⇒ ⇏ ⇔ ⇎");

/**
 * Alphabets of Unicode by their first characters; `holes` are letters that were encoded elsewhere.
 * @typedef {{upper?: number, lower?: number, digit?: number, greek?: number, holes?: Map<string, string>}} Alphabet
 */
/** @type {Record<string, Alphabet>} */
const ALPHABETS = {
  bold: { upper: 0x1d400, lower: 0x1d41a, digit: 0x1d7ce, greek: 0x1d6a8 },
  "bold-italic": { upper: 0x1d468, lower: 0x1d482, digit: 0x1d7ce, greek: 0x1d71c },
  double: { upper: 0x1d538, lower: 0x1d552, digit: 0x1d7d8, holes: table("C ℂ H ℍ N ℕ P ℙ Q ℚ R ℝ Z ℤ") },
  script: { upper: 0x1d49c, lower: 0x1d4b6, holes: table("B ℬ E ℰ F ℱ H ℋ I ℐ L ℒ M ℳ R ℛ e ℯ g ℊ o ℴ") },
  fraktur: { upper: 0x1d504, lower: 0x1d51e, holes: table("C ℭ H ℌ I ℑ R ℜ Z ℨ") },
  sans: { upper: 0x1d5a0, lower: 0x1d5ba, digit: 0x1d7e2 },
  mono: { upper: 0x1d670, lower: 0x1d68a, digit: 0x1d7f6 },
};

/** Commands that set the letters of their argument in another alphabet. */
export const FONTS = table(`
  mathbf bold symbf bold boldsymbol bold-italic bm bold-italic mathbb double Bbb double mathcal script mathscr script
  mathfrak fraktur mathsf sans mathtt mono mathrm upright mathit italic mathnormal italic
`);
export const FONT_SWITCHES = table("bf bold cal script rm upright it italic sf sans tt mono");

/**
 * @param {string} char
 * @param {string} font
 * @returns {string}
 */
export function inFont(char, font) {
  const alphabet = Object.hasOwn(ALPHABETS, font) ? ALPHABETS[font] : {};
  const hole = alphabet.holes?.get(char);
  if (hole !== undefined) return hole;
  const code = char.codePointAt(0) ?? 0;
  for (const [first, last, start] of /** @type {const} */ ([
    ["A", "Z", alphabet.upper],
    ["a", "z", alphabet.lower],
    ["0", "9", alphabet.digit],
    ["Α", "Ω", alphabet.greek],
    ["α", "ω", alphabet.greek && alphabet.greek + 26],
  ])) {
    if (start !== undefined && char >= first && char <= last) return String.fromCodePoint(start + code - (first.codePointAt(0) ?? 0));
  }
  return char;
}
