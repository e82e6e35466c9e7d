# ruff: noqa: E501 - tables of names, a name's list a line
"""Names that a question asks for and that no source knows by that very name: other words, the names that they cover,
and the ImageNet classes in whose pictures they usually stand.

`BESIDE` was written from what ImageNet's photographs show: trees stand around a lakeshore, a person wears a suit. Its
weight is fitted (`calibration.evidence`); it is never evidence that something is named unasked.
"""

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "people": "person", "someone": "person", "somebody": "person", "anyone": "person", "anybody": "person",
    "human": "person", "human being": "person", "persons": "person", "bike": "bicycle", "automobile": "car",
    "motorbike": "motorcycle", "plane": "airplane", "aeroplane": "airplane", "aircraft": "airplane", "tv": "television",
    "phone": "telephone", "cellphone": "mobile phone", "cell phone": "mobile phone", "smartphone": "mobile phone",
    "sofa": "couch", "mug": "cup", "instrument": "musical instrument", "bunny": "rabbit", "cattle": "cow", "hen": "chicken",
    "blossom": "flower", "donut": "doughnut", "football": "soccer ball", "mice": "mouse", "geese": "goose", "leaves": "leaf",
    "knives": "knife", "wolves": "wolf", "town": "city", "lorry": "truck", "coach": "bus", "fridge": "refrigerator",
}  # fmt: skip
COVERS: Mapping[str, tuple[str, ...]] = {
    "ball": ("soccer ball", "basketball", "baseball", "tennis ball", "volleyball ball", "rugby ball", "golf ball", "croquet ball", "ping-pong ball"),
    "boat": ("sailboat", "ship", "motorboat", "lifeboat", "fireboat", "gondola", "kayak", "yawl (boat)", "catamaran", "trimaran"),
    "bottle": ("wine bottle", "beer bottle", "water bottle", "soda bottle", "pill bottle"),
    "bowl": ("soup bowl", "mixing bowl"),
    "bridge": ("suspension bridge", "through arch bridge", "viaduct"),
    "church": ("bell tower", "monastery"),
    "city": (),
    "clock": ("alarm clock", "wall clock", "digital clock", "analog clock"),
    "cup": ("coffee mug", "tea cup", "espresso", "coffee", "measuring cup"),
    "fence": ("chain-link fence", "picket fence", "split-rail fence"),
    "house": ("mobile home", "tile roof", "thatched roof", "barn", "boathouse"),
    "lamp": ("table lamp", "lampshade", "light bulb", "spotlight"),
    "leaf": (),
    "mobile phone": ("ipod", "telephone"),
    "pot": ("plant pot", "potted plant"),
    "potted plant": ("plant pot",),
    "road": (),
    "sign": ("traffic or street sign", "stop sign"),
    "spoon": ("wooden spoon", "ladle"),
    "street": (),
    "table": ("dining table", "desk", "pool table"),
    "telephone": ("mobile phone",),
    "tower": ("bell tower", "water tower", "obelisk", "lighthouse", "castle", "church", "monastery", "mosque", "palace"),
    "tree": ("palm tree",),
    "wall": ("stone wall",),
    "window": ("window shade", "window screen", "shoji screen / room divider"),
    "wine glass": ("goblet",),
    "toy": ("teddy bear",),
}  # fmt: skip
_GREEN = "daisy|yellow lady's slipper|rapeseed|bee|plant pot|greenhouse|cardoon|artichoke|ladybug|rose hip|cabbage|leafhopper|grasshopper|praying mantis|stick insect|leaf beetle|small white butterfly|sulphur butterfly|ringlet butterfly"
_PARK = "lakeshore|valley|park bench|birdhouse|split-rail fence|maze|picket fence|lawn mower|acorn|fig|horse chestnut seed|hay|stone wall|patio"
_BESIDE: Mapping[str, str] = {
    "tree": f"{_PARK}|barn|swing|boathouse|mobile home|golf cart|monastery|castle|palace|church|fountain|suspension bridge|viaduct|through arch bridge|dam|bullock cart|horse-drawn vehicle|tent|koala|fox squirrel|cliff|megalith|traffic or street sign|flagpole|pole|totem pole|bell tower|greenhouse|tractor|farm plow|thatched roof|triumphal arch|pedestal|sundial|cliff dwelling|promontory|mountain bike|mailbox|yurt|chain-link fence|stupa|obelisk|beach|water tower",
    "flower": "daisy|yellow lady's slipper|rapeseed|bee|small white butterfly|sulphur butterfly|ringlet butterfly|monarch butterfly|red admiral butterfly|gossamer-winged butterfly|hummingbird|plant pot|vase|greenhouse|cardoon|artichoke|ladybug|fly|rose hip|pinwheel|cabbage|leafhopper|grasshopper|praying mantis|stick insect|leaf beetle|coral fungus|sea anemone|picket fence",
    "plant": f"{_GREEN}|{_PARK}|fruiting spike of a cereal plant|corn|vase|broccoli|chameleon|snail|slug|spider web|tree frog",
    "leaf": f"{_GREEN}|{_PARK}|snail|slug|spider web|tree frog|chameleon|dragonfly|lacewing|monarch butterfly|stick insect|green iguana",
    "person": "abaya|academic gown|apron|baby bib|bikini|bow tie|windsor tie|bolo tie|bra|bulletproof vest|cardigan|cowboy hat|sombrero|crash helmet|football helmet|swimming cap|diaper|fur coat|gown|hoop skirt|jeans|t-shirt|tights for gymnastics, a one-piece leotard, or a sport jersey|one-piece bathing suit|kimono|lab coat|military uniform|miniskirt|graduation cap|neck brace|oxygen mask|pajamas|poncho|sarong|shower cap|balaclava ski mask|stole scarf|suit|sunglasses|sweatshirt|swim trunks / shorts|trench coat|vestment|hair wig|hair spray|lipstick|sunscreen|stethoscope|barbell|dumbbell|parallel bars|gymnastic horizontal bar|balance beam|volleyball ball|rugby ball|basketball|snorkel|scuba diver|bridegroom|baseball player|necklace|band-aid|crutch|mask|gas mask or respirator|cloak|overskirt|harmonica|stretcher|breastplate|cuirass|chain mail|seat belt|bathtub|punching bag|poke bonnet|feather boa|hair clip|military hat (bearskin or shako)|pickelhaube",
    "tower": "dome|stupa|drilling rig|construction crane|suspension bridge|triumphal arch|flagpole|totem pole|pole|radio telescope|through arch bridge|missile|megalith",
    "house": "patio|picket fence|church|bell tower|palace|monastery|castle|birdhouse|yurt|restaurant|bakery|lighthouse|cliff dwelling|window shade|greenhouse",
    "window": "church|bell tower|palace|monastery|castle|boathouse|mobile home|tile roof|patio|library|movie theater|prison|restaurant|sliding door|barbershop|bakery|bookstore|tram|trolleybus|minibus|front curtain",
    "street": "tram|taxicab|trolleybus|minibus|traffic light|traffic or street sign|parking meter|minivan|police van|moving van|garbage truck|fire truck|ambulance|limousine|rickshaw vehicle|motor scooter|moped|payphone|mailbox|trash can|manhole cover|movie theater|tow truck|station wagon",
    "road": "tram|taxicab|trolleybus|minibus|traffic light|traffic or street sign|parking meter|minivan|police van|moving van|garbage truck|fire truck|ambulance|limousine|rickshaw vehicle|motor scooter|moped|race car|sports car|convertible|jeep|semi-trailer truck|pickup truck|school bus|horse-drawn vehicle|bullock cart|snowplow|mountain bike|tow truck|station wagon|recreational vehicle",
    "hat": "poke bonnet|swimming cap|shower cap|military hat (bearskin or shako)|pickelhaube|crash helmet|football helmet|graduation cap|balaclava ski mask|mask",
    "cup": "coffeepot|goblet|eggnog|teapot|beaker|drink pitcher|consomme",
    "car": "jeep|limousine|minivan|ford model t|car mirror|car wheel|radiator grille|police van|tow truck|parking meter|pickup truck|recreational vehicle|taxicab",
    "mountain": "valley|cliff|volcano|tent|lakeshore|promontory|alpine ibex|mountain bike",
    "city": "traffic light|tram|trolleybus|movie theater|dome|palace|mosque|suspension bridge|through arch bridge|parking meter|taxicab",
}  # fmt: skip
BESIDE: Mapping[str, tuple[str, ...]] = {name: tuple(classes.split("|")) for name, classes in _BESIDE.items()}
