"""Which words do the packs use, and which of them are kept out of training?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Pool = Literal["train", "held_out"]
T = TypeVar("T")


@dataclass(frozen=True)
class Divided(Generic[T]):
    """A list in two parts that share nothing: one for training, one for every other split."""

    train: tuple[T, ...]
    held_out: tuple[T, ...]

    def of(self, pool: Pool) -> tuple[T, ...]:
        """Return the part of that pool."""
        return self.train if pool == "train" else self.held_out


def _words(train: str, held_out: str) -> Divided[str]:
    return Divided(tuple(train.split()), tuple(held_out.split()))


def _phrases(train: str, held_out: str) -> Divided[str]:
    return Divided(_parts(train), _parts(held_out))


def lines(train: str, held_out: str) -> Divided[str]:
    """Make a list in two parts of two texts, an item a line."""
    return Divided(
        tuple(line.strip() for line in train.splitlines()), tuple(line.strip() for line in held_out.splitlines())
    )


def _forms(train: str, held_out: str) -> Divided[tuple[str, ...]]:
    """Words that belong together, such as `sing/sang`."""
    return Divided(
        tuple(tuple(word.split("/")) for word in train.split()),
        tuple(tuple(word.split("/")) for word in held_out.split()),
    )


def _parts(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split(","))


def takes_an(word: str) -> bool:
    """Tell whether `an` goes before a word; enough for the words of this file (`a useful ukulele`)."""
    return word[0] in "aeio"


def with_article(noun: str) -> str:
    """Put `a` or `an` before a noun."""
    return f"{'an' if takes_an(noun) else 'a'} {noun}"


# --- People, places, organisations ------------------------------------------------------------------------------------

WOMEN = _words(
    """Anna Maria Clara Julia Helena Sofia Laura Emma Nora Alice Irene Martha Ingrid Yuki Fatima Leila Priya Amara
    Chiara Elena Katya Bianca Carmen Dorothy Edith Frieda Gloria Hannah Isabel Joan Karen Linda Mona Nadia Olga
    Paula Rachel Sandra Teresa Ursula Vera Wendy Zoe Aisha Beatrice Cecilia Deborah Esther Fiona Greta""",
    """Agnes Barbara Claudia Daniela Eleanor Felicia Gwen Hilda Ines Jasmine Kirsten Lydia Mei Naomi Ophelia Petra
    Rosa Silvia Tamara Uma Valerie Winifred Yasmin Zelda Astrid""",
)
MEN = _words(
    """Ben Carl David Erik Frank George Henry Ivan James Karim Liam Marco Nils Oscar Peter Quentin Robert Simon Thomas
    Ulrich Victor Walter Xavier Yusuf Adam Boris Chen Diego Edward Felix Gustav Hassan Igor Jonas Kenji Lucas Miguel
    Noah Omar Pablo Ravi Samuel Tariq Umar Vincent William Arthur Bruno Colin Daniel""",
    """Albert Bernard Cyril Dmitri Ernest Fabian Gerard Hugo Isaac Julian Klaus Leon Matthias Nikolai Otto Patrick
    Rafael Stefan Tobias Viktor Wolfgang Yannick Zachary Anton Rupert""",
)
NAMES_LIKE_PLACES = _words(
    "Paris Jordan Georgia Victoria Lincoln Madison Phoenix Savannah Dallas Kingston",
    "Florence Sydney Austin Charlotte Chelsea Jackson Adelaide Houston Carolina Chester",
)
NAMES_LIKE_MONTHS = _words("May", "April June August")
SURNAMES = _words(
    """Keller Novak Rossi Tanaka Okafor Jensen Fischer Moreau Silva Petrov Kowalski Andersson Haddad Murphy Garcia
    Nguyen Schmidt Olsen Romano Dubois Ito Mensah Lopez Weber Larsen Costa Ivanov Singh Kumar Walsh Baker Stone Banks
    Young Rose Hill Brown Fox Marsh Field Carter Turner Hughes Bennett Foster Griffin Hayes Palmer Reid Sutton Tucker
    Vaughn Whitman Yates Barlow Crane Dalton Ellison Finch Goodwin""",
    """Abbott Becker Castillo Delacroix Eriksen Ferrari Gallagher Hoffman Ishikawa Jankowski Kaplan Lindqvist Mahmoud
    Nakamura Ortega Pereira Quinn Richter Sokolov Tremblay Usman Vasquez Winkler Yamada Zimmer Cook Lake Wood Bishop
    Knight Pope Frost""",
)
PLACES = _phrases(
    """Lisbon, Oslo, Vienna, Prague, Dublin, Madrid, Warsaw, Athens, Cairo, Nairobi, Lagos, Tokyo, Seoul, Delhi, Hanoi,
    Lima, Bogota, Quito, Toronto, Montreal, Chicago, Boston, Seattle, Denver, Berlin, Hamburg, Munich, Zurich, Geneva,
    Milan, Turin, Naples, Lyon, Marseille, Porto, Seville, Glasgow, Leeds, Bristol, Cardiff, Norway, Portugal, Kenya,
    Peru, Canada, Japan, Poland, Austria, Vietnam, Chile, New York, Cape Town, Hong Kong, Buenos Aires, South Korea,
    Los Angeles, Westbrook, Harlow, Ashford, Millbridge, Eastwick, Thornbury""",
    """Stockholm, Helsinki, Budapest, Bucharest, Brussels, Rotterdam, Krakow, Ankara, Tunis, Accra, Dakar, Osaka, Kyoto,
    Mumbai, Jakarta, Santiago, Caracas, Vancouver, Ottawa, Detroit, Atlanta, Cologne, Stuttgart, Basel, Verona, Bologna,
    Toulouse, Bilbao, Belfast, Sheffield, Sweden, Hungary, Ghana, Bolivia, Mexico, Thailand, Addis Ababa, San Francisco,
    Sri Lanka, Saint Petersburg, Greenhaven, Oakhurst, Fernley, Stonebury""",
)
COMPANIES = _words(
    """Norvex Calderis Brightwater Quantica Solaris Vantor Meditek Ironbridge Nexum Polaris Altera Zephyra Kinetix
    Orbita Lumina Datacore Hexagon Silverline Novatek Aerodyne Biogenix Cloudora Dynaflow Electra Fintria Globex
    Beacon Falcon Compass Anchor Pioneer Monarch""",
    """Ventura Omnicor Greenfield Tessera Proxima Skyline Ultimo Vericore Wavelength Xenotech Cyberia Petrolux Agrimax
    Lantern Summit Orchard Meridian Titan Harvest Sterling""",
)
ORGANISATION_FORMS = _phrases(
    """University of LOC, Bank of LOC, LOC United, LOC City Council, LOC Airways, SURNAME & Sons, SURNAME Brothers,
    COMPANY Group, COMPANY Ltd, COMPANY Systems, COMPANY Bank, COMPANY, COMPANY, LOC Football Club,
    National Museum of LOC""",
    """Institute of LOC, LOC Chamber of Commerce, LOC Rovers, LOC Port Authority, LOC Railways, SURNAME and Partners,
    SURNAME Industries, COMPANY Holdings, COMPANY Inc, COMPANY Technologies, COMPANY Insurance, COMPANY, COMPANY,
    LOC Hockey Club, Royal Library of LOC""",
)
PLACE_FORMS = _phrases(
    "LOC, LOC, LOC, LOC, LOC, LOC Street, Lake LOC, Port LOC, LOC Airport",
    "LOC, LOC, LOC, LOC, LOC, LOC Avenue, Mount LOC, Fort LOC, LOC Station",
)

# --- Things, work, time -----------------------------------------------------------------------------------------------

JOBS = _words(
    """pilot doctor teacher farmer baker sailor nurse painter driver judge tailor barber banker miner builder engineer
    lawyer actor singer editor reporter janitor grocer printer""",
    """gardener plumber dancer surveyor librarian carpenter florist jeweller architect translator
    broker inspector optician cleaner""",
)
THINGS = _words(
    """report parcel contract letter budget painting recipe bridge engine garden ticket camera ladder bicycle
    statue blanket""",
    "invoice suitcase agreement postcard sculpture manual tunnel turbine orchard brochure telescope carpet",
)
QUALITIES = _words(
    "late expensive famous heavy broken excellent empty ancient useful strange",
    "costly fragile brilliant delicate modern dusty helpful curious",
)
MONTHS = _parts("January, February, March, April, May, June, July, August, September, October, November, December")
WEEKDAYS = _parts("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
NUMBERS = _parts("two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen")
YEARS = Divided(
    tuple(str(year) for year in range(1950, 2024) if year % 3),
    tuple(str(year) for year in range(1950, 2024) if not year % 3),
)
TIMES = _phrases(
    """on Monday, on Tuesday, last night, last week, in the morning, after lunch, before noon, at dawn, in the spring,
    during the storm, after the meeting, before the concert""",
    """on Friday, on Saturday, yesterday, last month, in the evening, after dinner, before midnight, at dusk,
    in the autumn, during the strike, after the lecture, before the match""",
)
SPOTS = _phrases(
    """in the kitchen, near the river, behind the barn, on the bridge, at the station, in the park, outside the church,
    under the oak, on the beach, in the library""",
    """in the garage, near the lake, behind the school, on the balcony, at the harbour, in the forest,
    outside the hotel, under the arch, on the hill, in the museum""",
)

# --- Reading ----------------------------------------------------------------------------------------------------------

INSTRUMENTS = _words(
    "piano violin guitar cello flute trumpet harp organ clarinet accordion",
    "saxophone banjo oboe trombone mandolin viola bassoon ukulele",
)
ANIMALS = _words(
    "parrot goat rabbit horse hamster donkey turtle snake lizard goose",
    "ferret peacock pony tortoise duck canary pig mouse",
)
DISHES = _words(
    "lasagna risotto goulash paella pancakes dumplings meatballs noodles curry ratatouille",
    "moussaka ravioli tacos waffles gnocchi couscous sushi stew",
)
LANGUAGES = _words(
    "Italian Arabic Swedish Korean Turkish Polish Hindi Greek Dutch Swahili",
    "Finnish Hebrew Portuguese Mandarin Czech Persian Danish Bengali",
)

# --- Inference --------------------------------------------------------------------------------------------------------

KINDS = _forms(
    """poodle/dog terrier/dog spaniel/dog sparrow/bird robin/bird parrot/bird violinist/musician pianist/musician
    surgeon/doctor sprinter/athlete swimmer/athlete novelist/writer poet/writer sergeant/soldier corporal/soldier
    stallion/horse senator/politician chemist/scientist kitten/cat geologist/scientist""",
    """cobra/snake python/snake beetle/insect cricket/insect tenor/vocalist soprano/vocalist physicist/researcher
    botanist/researcher waiter/employee cashier/employee boxer/fighter gorilla/ape chimpanzee/ape
    goldsmith/artisan potter/artisan drummer/performer juggler/performer""",
)
VERBS = _forms(
    """sing/sang dance/danced sleep/slept smile/smiled shout/shouted cry/cried wait/waited run/ran fall/fell jump/jumped
    cough/coughed laugh/laughed kneel/knelt work/worked eat/ate play/played talk/talked stand/stood drink/drank
    argue/argued""",
    """whistle/whistled yawn/yawned sneeze/sneezed swim/swam stumble/stumbled rest/rested sigh/sighed pause/paused
    tremble/trembled hide/hid wave/waved crawl/crawled write/wrote sweat/sweated""",
)
TRANSITIVE_VERBS = _forms(
    """chase/chased/chased see/saw/seen help/helped/helped push/pushed/pushed follow/followed/followed
    call/called/called thank/thanked/thanked find/found/found visit/visited/visited hear/heard/heard
    teach/taught/taught blame/blamed/blamed greet/greeted/greeted warn/warned/warned pay/paid/paid
    invite/invited/invited ignore/ignored/ignored choose/chose/chosen catch/caught/caught praise/praised/praised""",
    """tease/teased/teased forgive/forgave/forgiven admire/admired/admired rescue/rescued/rescued
    interrupt/interrupted/interrupted recognise/recognised/recognised hire/hired/hired trick/tricked/tricked
    accuse/accused/accused beat/beat/beaten drive/drove/driven photograph/photographed/photographed
    defend/defended/defended scold/scolded/scolded""",
)

# --- Choices ----------------------------------------------------------------------------------------------------------

ORDERS = _forms(
    """taller/shorter/tallest/shortest older/younger/oldest/youngest faster/slower/fastest/slowest
    heavier/lighter/heaviest/lightest""",
    """stronger/weaker/strongest/weakest richer/poorer/richest/poorest louder/quieter/loudest/quietest
    braver/shyer/bravest/shyest""",
)
