"""Common English words for made texts: lower case, 4 to 9 letters, all different in the first four. So any two differ
from their first token on, in the simulator (four bytes per token) and in tokenizers that have a token for each. Do not
change the list or its order: that would change all made texts.
"""

from __future__ import annotations

_TEXT = """
able about above absolute abstract access across actually added addition affect after against algorithm
alias align alive allows already also although always another anything append applied arbitrary args
arguments around array asked assert assigned async attached attempt attribute auditing augmented automatic
available avoid await back base because becomes been before begins behavior being below between binary
binding bits bitwise block body boolean both bound brackets break built bytes called cannot case category
caught cause certain change character check class clause clear close code collected colon column command
complex condition context converted copied copy coroutine correctly could count created current custom cycle
data debugger decimal declared decorated default defined deleted denote depending derived described desired
destroyed details detected dict different digits directly discarded dishes display division does done double
during dynamic each earlier effect efficient either elements elif else empty emulate enabled enclosing
encoding enter entire entries enum equal error escape evaluated even every exactly example exception
executed exist exit explicit exponent extend extra fact fails falls false feature field file fill finally
find first fixed flag float floor flow following format found frame free from frozenset full function
further future garbage generator gets given global grammar greater group guard handler happened hash have
header help hence here hierarchy hints hook however identity ignored imaginary immediate immutable implement
import including index indices inherits insert inside inspect instance integer into invoked items iterable
itself just keys keyword kind known language large last later latter leading least leaving left length less
letters level lexical library like line list literals loaded local logical longer lookup loop lower made
make manager many mapping match math maxsize means mechanism memory mentioned message metaclass method
missing model modified module more mortem most multiple must mutable name nearest necessary needs negative
neither nested never newline next normal notation note nothing number numeric object occurs octal often
omitted once only open operation optional order original other outer output outside over owner package pair
parameter parent part passed pattern performed place point position possible power precision prefix present
previous primary print priority private process produce program prompt property protocol provide purpose
quotes raised range rather reached read real recent reference reflected regular related remaining removed
repeated replaced represent required resolved rest result retrieved return reversed rich right roughly rules
running runtime said same saved scope script search second section selects self semantics sensitive
separator sequence sets setting should side sign similar simple since single size skip slice slot soft some
sort source space special split square stack standard start statement steps still stop stored string style
subclass subject substring succeed such suffix suite super support syntax system table take target terms
test text than that their them then there these they third this those though three through time together
total traceback trailing treated true truth tuple type typically unary unbound unchanged under unless
unpacking until update uppercase usable usage used useful user uses using usually valid value variables
version view virtual warning well were what when where whether which while whose width will wishes with
words works would wrapped written yield zero
"""
WORDS = tuple(_TEXT.split())
