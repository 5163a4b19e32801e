"""Brute force for the tests: theory T3 and T4 written out over every cell and every strategy profile.

Slow and obvious on purpose, and independent of the code under test: it reads game documents itself.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
from scipy.optimize import linprog


class Oracle:
    """A small game from its document, with payoffs as functions of (types, actions)."""

    def __init__(self, document):
        players = document["players"]
        self.n = len(players)
        self.types = [range(len(p["types"])) for p in players]
        self.actions = [range(len(p["actions"])) for p in players]
        self.joint_types = list(product(*self.types))
        self.joint_actions = list(product(*self.actions))
        self.feasible = document.get("feasible")
        weights = {t: Fraction(self._pick(document["prior"], t)) for t in self.joint_types}
        total = sum(weights.values())
        self.p = {t: w / total for t, w in weights.items()}
        self.payoffs = document["payoffs"]
        self.leader = document.get("leader")

    @staticmethod
    def _pick(array, index):
        for k in index:
            array = array[k if len(array) > 1 else 0]
        return array

    def u(self, i, t, a):
        return Fraction(self._pick(self.payoffs[i], t + a))

    def w(self, t, a, objective="leader"):
        if objective == "leader":
            return Fraction(self._pick(self.leader, t + a))
        if objective == "welfare":
            return sum(self.u(i, t, a) for i in range(self.n))
        return self.u(int(objective.split(":")[1]), t, a)

    def ok(self, i, ti, ai):
        return self.feasible is None or self.feasible[i][ti][ai]

    def cells(self, t):
        return [a for a in self.joint_actions if all(self.ok(i, t[i], a[i]) for i in range(self.n))]

    def own(self, i, ti):
        return sum(p for t, p in self.p.items() if t[i] == ti)

    def rows(self):
        """All (player, own type, deviation) that count."""
        return [
            (i, ti, dev)
            for i in range(self.n)
            for ti in self.types[i]
            for dev in self.actions[i]
            if self.own(i, ti) > 0 and self.ok(i, ti, dev)
        ]

    def regret(self, sigma, row):
        i, ti, dev = row
        total = Fraction(0)
        for t in self.joint_types:
            if t[i] == ti and self.p[t]:
                for a in self.joint_actions:
                    mass = sigma(t, a)
                    if mass:
                        moved = a[:i] + (dev,) + a[i + 1 :]
                        total += self.p[t] * mass * (self.u(i, t, moved) - self.u(i, t, a))
        return total / self.own(i, ti)

    def value(self, sigma, objective="leader"):
        cells = ((t, a) for t in self.joint_types for a in self.joint_actions)
        return sum((self.p[t] * sigma(t, a) * self.w(t, a, objective) for t, a in cells), Fraction(0))

    def profiles(self):
        """Every pure strategy profile: one action for each own type of each player."""
        strategies = [
            list(product(*[[a for a in self.actions[i] if self.ok(i, ti, a)] for ti in self.types[i]]))
            for i in range(self.n)
        ]
        return list(product(*strategies))

    def optimum(self, equilibrium_set, epsilon, sense, objective="leader"):
        """The exact optimum up to floating point, by one explicit linear program (scipy)."""
        sign = -1.0 if sense == "max" else 1.0
        if equilibrium_set == "sf":
            columns = [{t: tuple(s[i][t[i]] for i in range(self.n)) for t in self.joint_types} for s in self.profiles()]
        else:
            columns = [{t: a} for t in self.joint_types for a in self.cells(t)]
        cost, regret = [], []
        for column in columns:
            sigma = lambda t, a, column=column: int(column.get(t) == a)  # noqa: E731
            cost.append(sign * float(self.value(sigma, objective)))
            regret.append([float(self.regret(sigma, row)) for row in self.rows()])
        if equilibrium_set == "sf":
            equal, right = [[1.0] * len(columns)], [1.0]
        else:
            equal = [[float(t in column) for column in columns] for t in self.joint_types]
            right = [1.0] * len(self.joint_types)
        if equilibrium_set == "ns":
            for j in range(self.n):
                for t in self.joint_types:
                    if t[j] == 0:
                        continue
                    base = t[:j] + (0,) + t[j + 1 :]
                    for rest in {a[:j] + a[j + 1 :] for a in self.joint_actions}:
                        row = []
                        for column in columns:
                            ((at, a),) = column.items()
                            hit = a[:j] + a[j + 1 :] == rest
                            row.append(float(hit and at == t) - float(hit and at == base))
                        equal.append(row)
                        right.append(0.0)
        rows = np.array(regret).T if self.rows() else None
        bound = None if rows is None else [float(epsilon)] * len(rows)
        result = linprog(cost, A_ub=rows, b_ub=bound, A_eq=np.array(equal), b_eq=right, method="highs")
        if result.status == 2:
            return None
        assert result.status == 0, result.message
        return sign * result.fun
