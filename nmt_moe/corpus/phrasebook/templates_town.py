"""Templates of the domains restaurant and shopping."""

from __future__ import annotations

from nmt_moe.corpus.phrasebook.template import Template

RESTAURANT = [
    Template(
        "restaurant",
        en="I would like {dish:a} and {drink:a}, please.",
        de="Ich möchte bitte {dish:einen} und {drink:einen}.",
        fr="Je voudrais {dish:un} et {drink:un}, s'il vous plaît.",
    ),
    Template(
        "restaurant",
        en="We would like to reserve a table for {few} people at {time}.",
        de="Wir möchten einen Tisch für {few} Personen um {time} Uhr reservieren.",
        fr="Nous voudrions réserver une table pour {few} personnes à {time}.",
    ),
    Template(
        "restaurant",
        en="Do you have a free table on {weekday} at {time}?",
        de="Haben Sie am {weekday} um {time} Uhr einen freien Tisch?",
        fr="Avez-vous une table libre {weekday} à {time} ?",
    ),
    Template(
        "restaurant",
        en="How much is the {dish} with {drink:a}?",
        de="Wie viel kostet {dish:der} mit {drink:einem}?",
        fr="Combien coûte {dish:le} avec {drink:un} ?",
    ),
    Template(
        "restaurant",
        en="The {dish} costs {price}.",
        de="{dish:der} kostet {price}.",
        fr="{dish:le} coûte {price}.",
    ),
    Template(
        "restaurant",
        en="We ordered {drinks} for table {few:digits}.",
        de="Wir haben {drinks} für Tisch {few:digits} bestellt.",
        fr="Nous avons commandé {drinks} pour la table {few:digits}.",
    ),
    Template(
        "restaurant",
        en="Table {count} ordered {dishes}.",
        de="Tisch {count} hat {dishes} bestellt.",
        fr="La table {count} a commandé {dishes}.",
    ),
    Template(
        "restaurant",
        en="My {family} is paying for the {dish} and the {drink}.",
        de="{family:mein} bezahlt {dish:den} und {drink:den}.",
        fr="{family:mon} paie {dish:le} et {drink:le}.",
    ),
    Template(
        "restaurant",
        en="For me {drink:a}, and for my {family} {drink2:a}, please.",
        de="Für mich {drink:einen} und für {family:meinen} {drink2:einen}, bitte.",
        fr="Pour moi {drink:un}, et pour {family:mon} {drink2:un}, s'il vous plaît.",
    ),
    Template(
        "restaurant",
        en="We have been waiting for the {dish} for {wait}.",
        de="Wir warten seit {wait:dat} auf {dish:den}.",
        fr="Nous attendons {dish:le} depuis {wait}.",
    ),
    Template(
        "restaurant",
        en="The restaurant is open from {hours:open} to {hours:close}, but not on {weekday}.",
        de="Das Restaurant ist von {hours:open} bis {hours:close} Uhr geöffnet, "
        "aber nicht am {weekday}.",
        fr="Le restaurant est ouvert de {hours:open} à {hours:close}, mais pas le {weekday}.",
    ),
    Template(
        "restaurant",
        en="{name} is ordering {dish:a}, and {name2} is only having {drink:a}.",
        de="{name} bestellt {dish:einen}, und {name2} nimmt nur {drink:einen}.",
        fr="{name} commande {dish:un}, et {name2} prend seulement {drink:un}.",
    ),
]

SHOPPING = [
    Template(
        "shopping",
        en="I am looking for {garment:a} in size {size}.",
        de="Ich suche {garment:einen} in Größe {size}.",
        fr="Je cherche {garment:un} en taille {size}.",
    ),
    Template(
        "shopping",
        en="How much does the {garment} cost?",
        de="Wie viel kostet {garment:der}?",
        fr="Combien coûte {garment:le} ?",
    ),
    Template(
        "shopping",
        en="The {garment} costs {euros}.",
        de="{garment:der} kostet {euros}.",
        fr="{garment:le} coûte {euros}.",
    ),
    Template(
        "shopping",
        en="I will take the {garment} and the {garment2}.",
        de="Ich nehme {garment:den} und {garment2:den}.",
        fr="Je prends {garment:le} et {garment2:le}.",
    ),
    Template(
        "shopping",
        en="I need {weight} of {grocery}.",
        de="Ich brauche {weight} {grocery}.",
        fr="J'ai besoin de {weight} {grocery:de}.",
    ),
    Template(
        "shopping",
        en="Please give me {volume} of {liquid} and {weight} of {grocery}.",
        de="Geben Sie mir bitte {volume} {liquid} und {weight} {grocery}.",
        fr="Donnez-moi {volume} {liquid:de} et {weight} {grocery:de}, s'il vous plaît.",
    ),
    Template(
        "shopping",
        en="One kilogram of {grocery} costs {price}.",
        de="Ein Kilogramm {grocery} kostet {price}.",
        fr="Un kilogramme {grocery:de} coûte {price}.",
    ),
    Template(
        "shopping",
        en="Where can I change {money} in {city}?",
        de="Wo kann ich in {city} {money} wechseln?",
        fr="Où puis-je changer {money} à {city} ?",
    ),
    Template(
        "shopping",
        en="There is a discount of {percent} on the {garment}.",
        de="Auf {garment:den} gibt es {percent} Rabatt.",
        fr="Il y a une remise de {percent} sur {garment:le}.",
    ),
    Template(
        "shopping",
        en="The shop is open every {weekday} from {hours:open} to {hours:close}.",
        de="Das Geschäft ist jeden {weekday} von {hours:open} bis {hours:close} Uhr geöffnet.",
        fr="Le magasin est ouvert tous les {weekday:s} de {hours:open} à {hours:close}.",
    ),
    Template(
        "shopping",
        en="On my list: {groceries}.",
        de="Auf meiner Liste: {groceries}.",
        fr="Sur ma liste : {groceries}.",
    ),
    Template(
        "shopping",
        en="My {family} bought {garment:a} for {money}.",
        de="{family:mein} hat {garment:einen} für {money} gekauft.",
        fr="{family:mon} a acheté {garment:un} pour {money}.",
    ),
    Template(
        "shopping",
        en="Is there a shoe shop near the {place}, and is it open on {weekday}?",
        de="Gibt es in der Nähe {place:vom} ein Schuhgeschäft, und ist es am {weekday} geöffnet?",
        fr="Y a-t-il un magasin de chaussures près {place:du}, et est-il ouvert le {weekday} ?",
    ),
]
