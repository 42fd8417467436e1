//! Colours and styles, for light and dark, in one place.
//!
//! No colour stands alone: outcomes differ in fill, kinds in shape, states of nodes in pattern,
//! classes of faults in their lane. Red means a violation and nothing else.

/// The style sheet of a picture.
pub(super) const PICTURE: &str = "
:root{--paper:#fff;--ink:#1b2027;--soft:#59626e;--line:#b9c0c9;--grid:#e6e9ed;
--ok:#3a7fc2;--fail:#9c5600;--info:#751a86;--bad:#cc0f2f;--on-bad:#fff;
--process:#8a5636;--network:#12806f;--disk:#77710f;--clock:#4f5bb5;--cluster:#3b873b;--kms:#ab4f8a;
--leader:#1f4e79;--on-leader:#fff;--follower:#cfe0f0;--on-follower:#1b2027;--quiet:#8b949f}
@media (prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e7eaee;--soft:#a3adb8;
--line:#4a535e;--grid:#272e36;--ok:#64a9e8;--fail:#f0a63a;--info:#e59bf2;--bad:#ff5468;
--on-bad:#14181d;--process:#c98e66;--network:#3fbfaa;--disk:#c0b83c;--clock:#8f9af0;
--cluster:#6cc26c;--kms:#e287bd;--leader:#8cc4f5;--on-leader:#0d1a26;--follower:#27435c;
--on-follower:#e7eaee;--quiet:#6d7681}}
.picture{font-family:system-ui,'DejaVu Sans',sans-serif;font-size:12px;fill:var(--ink)}
.paper{fill:var(--paper)}
.heading{font-size:17px;font-weight:600}
.label{font-size:12px}.small{font-size:11px}
.middle{text-anchor:middle}.end{text-anchor:end}
.strong{font-weight:600}.soft{fill:var(--soft)}
.halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
.axis{stroke:var(--soft);stroke-width:1}
.grid{stroke:var(--grid);stroke-width:1}
.minor{stroke:var(--grid);stroke-width:.6;stroke-dasharray:2 4}
.lane{stroke:var(--grid);stroke-width:1}
.phase{stroke:var(--soft);stroke-width:1;stroke-dasharray:5 4}
.process{--hue:var(--process)}.network{--hue:var(--network)}.disk{--hue:var(--disk)}
.clock{--hue:var(--clock)}.cluster{--hue:var(--cluster)}.kms{--hue:var(--kms)}
.fault .sure{fill:var(--hue);stroke:var(--paper);stroke-width:.5}
.fault .doubt{fill:var(--paper);stroke:var(--hue);stroke-width:1}
.band{fill:var(--hue);opacity:.1}
.no-majority{fill:var(--ink)}
.pattern{fill:none;stroke:var(--soft);stroke-width:1.2}
.pattern.dots{stroke-width:2;stroke-linecap:round}
.mark{fill:none;stroke-width:4;stroke-linecap:round;stroke-linejoin:round}
.mark.version-write,.mark.other-change{stroke-width:1.5}
.mark.metadata-read{stroke-width:2}
.mark.ok{stroke:var(--ok)}.mark.fail{stroke:var(--fail)}
.mark.info{stroke:var(--info)}.mark.unexpected{stroke:var(--bad)}
.mark.ok.version-write{fill:var(--ok)}.mark.info.version-write{fill:var(--info)}
.mark.unexpected.version-write{fill:var(--bad)}
.mark.fail.payload-read{stroke-width:5}.mark.info.payload-read{stroke-width:5.5}
.mark.info.metadata-read{stroke-width:3}
.mark.unexpected{stroke-width:3}.mark.unexpected.payload-read{stroke-width:7}
.mark.hole.payload-read{stroke:var(--paper);stroke-width:2.6}
.mark.few{opacity:.35}.mark.some{opacity:.6}
.hit{fill:transparent;pointer-events:all}
.hit:hover{stroke:var(--ink);stroke-width:1.5}
.rate.ok{fill:var(--ok)}.rate.fail{fill:var(--fail)}.rate.info{fill:var(--info)}
.rate.unexpected{fill:var(--bad)}
.leader{fill:var(--leader)}.follower{fill:var(--follower)}
.state{stroke:var(--paper);stroke-width:.6}
.state.candidate,.state.learner,.state.paused{fill:var(--paper);stroke:var(--quiet)}
.state.down{fill:var(--paper);stroke:var(--ink);stroke-width:1.2;stroke-dasharray:3 3}
.state.silent{fill:var(--quiet);stroke:none}
.on-leader{fill:var(--on-leader)}.on-follower{fill:var(--on-follower)}
.snapshot{fill:var(--ink);stroke:var(--paper);stroke-width:.8}
.breach-line{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:2 3}
.breach-label{font-size:12px;font-weight:700;fill:var(--bad);paint-order:stroke;
stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
.arrowhead{fill:var(--bad)}
.arrow{fill:none;stroke:var(--bad);stroke-width:2.2}
.op{stroke:var(--paper);stroke-width:.5}
.op.read{fill:var(--follower);stroke:var(--ok);stroke-width:1}
.op.write{fill:var(--ok);stroke:var(--ok);stroke-width:1}
.op.fail{fill:var(--paper);stroke:var(--fail);stroke-dasharray:3 2;stroke-width:1.2}
.op.info,.op.unexpected{fill:var(--info);stroke:var(--info)}
.op-open{stroke:var(--info);stroke-width:1.5;stroke-dasharray:2 3}
.op.culprit{stroke:var(--bad);stroke-width:2.5}
.culprit-label{font-weight:700;fill:var(--bad)}
.cut{stroke:var(--soft);fill:none;stroke-width:1}
.zoomed{fill:var(--bad);opacity:.12}
.zoomed-edge{stroke:var(--bad);stroke-width:1;stroke-dasharray:4 3;fill:none}
.row{stroke:var(--grid);stroke-width:1}
";

/// What the page adds to it.
pub(super) const PAGE: &str = "
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,'DejaVu Sans',sans-serif;color-scheme:light dark}
main{max-width:1320px;margin:0 auto;padding:20px 24px 60px}
h1{font-size:26px;line-height:1.25;margin:0}
h2{font-size:19px;margin:38px 0 8px;padding-top:8px;border-top:1px solid var(--line)}
h3{font-size:16px;margin:22px 0 6px}
p{margin:6px 0;max-width:95ch}
a{color:var(--ok)}
nav{margin:14px 0 0;display:flex;flex-wrap:wrap;gap:4px 18px}
.verdict{border:2px solid var(--ink);border-left-width:14px;border-radius:4px;padding:16px 20px}
.verdict.invalid{border-color:var(--bad)}
.verdict.unknown{border-color:var(--fail);border-style:dashed;border-left-style:solid}
.verdict.valid{border-color:var(--ok)}
.verdict ul{margin:8px 0 0;padding-left:20px}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:8px 20px;
margin:16px 0 0}
.facts div{min-width:0;overflow-wrap:anywhere}
.facts dt{color:var(--soft);font-size:13px}.facts dd{margin:0;font-weight:600}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px;margin:8px 0}
th,td{text-align:left;vertical-align:top;padding:5px 12px 5px 0;
border-bottom:1px solid var(--grid)}
th{color:var(--soft);font-weight:600;font-size:13px;border-bottom-color:var(--line);
white-space:nowrap}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.number{padding-right:24px}th.number{padding-right:24px}
td.name{white-space:nowrap;font-weight:600}
td.wide{overflow-wrap:anywhere;min-width:22ch}
.state-word{display:inline-block;white-space:nowrap;border:1.5px solid currentColor;
border-radius:3px;padding:0 7px;font-size:13px;font-weight:600}
.state-word.bad{background:var(--bad);border-color:var(--bad);color:var(--on-bad)}
.state-word.doubt{color:var(--fail);border-style:dashed}
.state-word.none{color:var(--soft);border-color:transparent;padding-left:0}
.breach-sentence{margin-top:20px;border-left:4px solid var(--bad);padding-left:12px;font-size:16px}
figure{margin:10px 0 0}
figure svg{display:block;width:100%;min-width:900px;height:auto}
figcaption{color:var(--soft);font-size:13px;max-width:110ch;margin-top:4px}
@media print{main{max-width:none;padding:0}figure svg{min-width:0}}
";
